package hostile

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func init() {
	attacks["files"] = func(args []string) {
		for _, arg := range args {
			switch how, path, _ := strings.Cut(arg, " "); how {
			case "write":
				step("write to "+path, openFor(path, os.O_WRONLY))
			case "read":
				step("read "+path, read(path))
			}
		}
	}
	attacks["kernel"] = func([]string) { kernel() }
	attacks["handle"] = func([]string) { handle() }
	attacks["cgroup"] = func([]string) { cgroup() }
	attacks["network"] = func(args []string) { network(args) }
	attacks["in-namespace"] = func(args []string) { // what inNewNamespace starts
		if unix.Mount("", args[0], "", unix.MS_REMOUNT|unix.MS_BIND, "") == nil && os.WriteFile(filepath.Join(args[0], "mine"), nil, 0o644) == nil {
			os.Exit(0)
		}
		os.Exit(int(unix.EPERM))
	}
}

func openFor(path string, flags int) error {
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Read(make([]byte, 16))
	return err
}

// inNewNamespace tries to make a read-only mount writable from namespaces of one's own.
func inNewNamespace(flags uintptr, dir string) error {
	cmd := exec.Command(program, "attack", "in-namespace", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if flags&unix.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{Size: 1}}
	}
	if err := cmd.Run(); cmd.ProcessState != nil {
		if code := cmd.ProcessState.ExitCode(); code > 0 {
			return unix.Errno(code)
		}
		return err
	} else if err != nil {
		return err
	}
	return nil
}

// makeNode makes a node of a device of the host's and opens it, and has the kernel mount it.
func makeNode(major, minor, kind string) {
	a, _ := strconv.ParseUint(major, 10, 32)
	b, _ := strconv.ParseUint(minor, 10, 32)
	node := "/tmp/node"
	err := unix.Mknod(node, unix.S_IFBLK|0o666, int(unix.Mkdev(uint32(a), uint32(b))))
	if err == nil {
		err = open(node)
	}
	step("make a node of the host's disk and open it", err)
	if _, missing := os.Lstat(node); missing == nil {
		_ = os.MkdirAll("/tmp/disk", 0o755)
		// As the host has it mounted: then the kernel does not open the device again, and asks no rule for devices.
		if err = unix.Mount(node, "/tmp/disk", kind, 0, ""); err == nil {
			_ = unix.Unmount("/tmp/disk", unix.MNT_DETACH)
		}
	}
	step("mount the host's disk", err)
	_ = os.Remove(node)
}

// kernel asks for what acts on the host as a whole. Nothing of it would do harm if it were done.
func kernel() {
	_, _, errno := unix.Syscall(unix.SYS_INIT_MODULE, 0, 0, 0)
	step("load a module", failed(errno, unix.EFAULT, unix.ENOEXEC, unix.EINVAL))
	_, _, errno = unix.Syscall6(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0, 0, 0)
	step("load a kernel", failed(errno))
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_REALTIME, &now)
	step("set the clock", unix.ClockSettime(unix.CLOCK_REALTIME, &now))
}

// failed is an errno as an error. Some say that the caller was let in and only asked for nonsense.
func failed(errno unix.Errno, letIn ...unix.Errno) error {
	for _, e := range letIn {
		if errno == e {
			return nil
		}
	}
	if errno == 0 {
		return nil
	}
	return errno
}

// handle opens files by their number, around every path: the root folder of the file system that the guest's own is on.
func handle() {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "/", 0)
	if err != nil {
		step("a handle of the own root", err)
		return
	}
	root, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		step("the own root", err)
		return
	}
	// ext4, xfs and the like: number of the inode, generation. 2 is the root of ext4, and 0 is any generation there.
	forged := unix.NewFileHandle(h.Type(), append([]byte{2, 0, 0, 0}, make([]byte, max(0, len(h.Bytes())-4))...))
	for name, one := range map[string]unix.FileHandle{"own root": h, "the file system's root": forged} {
		fd, err := unix.OpenByHandleAt(root, one, unix.O_RDONLY)
		if err == nil {
			_ = unix.Close(fd)
		}
		step("open_by_handle_at of "+name, err)
	}
}

// network looks for the host's interfaces and sends from them.
func network(hosts []string) {
	for _, name := range hosts {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.BindToDevice(fd, name)
			_ = unix.Close(fd)
		}
		step("a raw socket on the host's "+name, err)
	}
	for _, pattern := range []string{"/proc/*/ns/net"} {
		links, _ := filepath.Glob(pattern)
		own, _ := os.Readlink("/proc/self/ns/net")
		for _, l := range links {
			if other, err := os.Readlink(l); err == nil && other != own && !strings.Contains(l, "self") {
				step("a process of another network: "+l, nil)
			}
		}
	}
}
