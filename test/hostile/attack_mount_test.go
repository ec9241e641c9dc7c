package hostile

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func init() {
	attacks["write-readonly"] = func(args []string) { writeReadonly(args[0]) }
	attacks["remount-writable"] = func(args []string) {
		for n := 0; n+1 < len(args); n += 2 {
			remountWritable(args[n], args[n+1])
		}
	}
	attacks["use-node"] = func(args []string) { useNode(args[0]) }
	attacks["make-node"] = func(args []string) { makeNode(args[0], args[1], args[2]) }
}

// writeReadonly tries all that makes a read-only mount writable, and writes after each.
func writeReadonly(dir string) {
	write := func() error { return os.WriteFile(filepath.Join(dir, "mine"), []byte("x"), 0o644) }
	step("write to "+dir, write())
	for name, flags := range map[string]uintptr{"remount,bind,rw": unix.MS_REMOUNT | unix.MS_BIND, "remount,rw": unix.MS_REMOUNT} {
		err := unix.Mount("", dir, "", flags, "")
		if err == nil {
			err = write()
		}
		step(name+" of "+dir, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil && st.Flags&(unix.ST_NOSUID|unix.ST_NODEV|unix.ST_NOEXEC) != 0 {
		step("remount,bind,ro,suid,dev,exec of "+dir, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	}
	step("mount_setattr of "+dir, unix.MountSetattr(unix.AT_FDCWD, dir, unix.AT_RECURSIVE, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}))

	again := "/dev/again"
	_ = os.MkdirAll(again, 0o755)
	err := unix.Mount(dir, again, "", unix.MS_BIND|unix.MS_REC, "")
	if err == nil {
		err = unix.Mount("", again, "", unix.MS_REMOUNT|unix.MS_BIND, "")
		_ = unix.Mount("", again, "", unix.MS_PRIVATE|unix.MS_REC, "") // or its end would be that of what it is a copy of
		_ = unix.Unmount(again, unix.MNT_DETACH)
	}
	step("bind "+dir+" once more and remount that", err)

	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE)
	if err == nil {
		err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
	}
	step("clone "+dir+" and mount_setattr that", err)

	step("a new mount namespace, and there", inNewNamespace(unix.CLONE_NEWNS, dir))
	step("a new user namespace, and there", inNewNamespace(unix.CLONE_NEWUSER|unix.CLONE_NEWNS, dir))
}

// remountWritable takes "ro" off a mount, if there is one at all, and opens a file beneath it for writing. It writes what is there
// already, so that nothing is harmed where nothing stops it.
func remountWritable(dir, file string) {
	path := filepath.Join(dir, file)
	step("write to "+path, rewrite(path))
	err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND, "")
	if err == nil {
		err = rewrite(path)
	}
	step("remount "+dir+" writable and write to "+path, err)
}

func rewrite(path string) error {
	now, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(now)
	return errors.Join(err, f.Close())
}

// useNode opens a device node that is there.
func useNode(path string) {
	step("open "+path, open(path))
	_ = unix.Mount("", filepath.Dir(path), "", unix.MS_REMOUNT|unix.MS_BIND, "")
	_ = unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "")
	step("remount with devices and open "+path, open(path))
}

func open(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
