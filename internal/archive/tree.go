package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/omitted"
)

// beneath is how every folder inside the destination is opened.
var beneath = unix.OpenHow{
	Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
	Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
}

const maxOpenDirs = 64

// tree makes files beneath one folder. All names it takes are clean. Only the last element of a name is ever
// given to a system call together with a folder, and never followed.
type tree struct {
	root int
	room *diskspace.Room
	dirs map[string]int // O_PATH handles of folders used lately
	euid int
	egid int
	// lost is what the file system could not hold.
	lost *omitted.List
}

func openTree(dir string, room *diskspace.Room) (*tree, error) {
	root, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("unpack into %s: %w", dir, err)
	}
	t := &tree{root: root, room: room, dirs: map[string]int{}, euid: os.Geteuid(), egid: os.Getegid(), lost: &omitted.List{}}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = unix.ENOTEMPTY
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("unpack into %s: %w", dir, err)
	}
	return t, nil
}

func (t *tree) close() {
	for _, fd := range t.dirs {
		_ = unix.Close(fd)
	}
	_ = unix.Close(t.root)
}

// parent gives the handle of the folder that holds name, making missing ones, and the last element.
func (t *tree) parent(name string) (int, string, error) {
	dir, base := path.Split(name)
	if dir == "" {
		return t.root, base, nil
	}
	fd, err := t.dir(dir[:len(dir)-1], true)
	return fd, base, err
}

// dir opens a folder; with create, folders that an archive left out are made as root's, mode 0755.
func (t *tree) dir(name string, create bool) (int, error) {
	if fd, ok := t.dirs[name]; ok {
		return fd, nil
	}
	fd, err := t.open(name, &beneath)
	if errors.Is(err, unix.ENOENT) && create {
		var parent int
		var base string
		if parent, base, err = t.parent(name); err != nil {
			return -1, err
		}
		if err := errors.Join(t.room.Take(diskspace.Block), t.room.TakeFile()); err != nil {
			return -1, err
		}
		if err = unix.Mkdirat(parent, base, 0o755); err != nil {
			return -1, fmt.Errorf("make directory: %w", err)
		}
		fd, err = t.open(name, &beneath)
	}
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENOTDIR):
		return -1, refused("path leads through something that is not a directory: %w", err)
	case err != nil:
		return -1, fmt.Errorf("open directory: %w", err)
	}
	if len(t.dirs) >= maxOpenDirs {
		for other, fd := range t.dirs {
			_ = unix.Close(fd)
			delete(t.dirs, other)
			if len(t.dirs) < maxOpenDirs/2 {
				break
			}
		}
	}
	t.dirs[name] = fd
	return fd, nil
}

// open opens a folder. The kernel takes no path of PATH_MAX bytes, which packed trees can have: those are opened in pieces.
func (t *tree) open(name string, how *unix.OpenHow) (int, error) {
	if len(name) < unix.PathMax {
		return unix.Openat2(t.root, name, how)
	}
	from := len(name) - unix.PathMax + 1
	cut := strings.IndexByte(name[from:], '/')
	if cut < 0 {
		return -1, unix.ENAMETOOLONG
	}
	parent, err := t.dir(name[:from+cut], false)
	if err != nil {
		return -1, err
	}
	return unix.Openat2(parent, name[from+cut+1:], how)
}

// mkdir makes a folder with mode 0700; one that exists is fine.
func (t *tree) mkdir(name string) error {
	fd, base, err := t.parent(name)
	if err != nil {
		return err
	}
	err = unix.Mkdirat(fd, base, 0o700)
	if errors.Is(err, unix.EEXIST) {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return refused("name comes twice, as %s and as a directory", kindName(st.Mode))
		}
		return nil
	}
	if errors.Is(err, unix.ENAMETOOLONG) {
		return refused("%w", err)
	}
	return err
}

func (t *tree) symlink(name, target string, m meta) error {
	if target == "" {
		return refused("symbolic link without a target")
	}
	fd, base, err := t.parent(name)
	if err != nil {
		return err
	}
	if err := t.put(fd, base, unix.S_IFLNK, func() error { return unix.Symlinkat(target, fd, base) }); err != nil {
		return err
	}
	return t.setByName(fd, name, m, false)
}

func (t *tree) link(name, target string) error {
	if _, _, err := t.parent(name); err != nil {
		return err
	}
	targetDir, targetBase := path.Split(target)
	from := t.root
	if targetDir != "" {
		var err error
		if from, err = t.dir(targetDir[:len(targetDir)-1], false); errors.Is(err, unix.ENOENT) {
			return refused("hard link to %q, which is not there", shorten(target))
		} else if err != nil {
			return err
		}
	}
	// The cache may have closed fd to open the other one.
	fd, base, err := t.parent(name)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(from, targetBase, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return refused("hard link to %q: %w", shorten(target), err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return refused("hard link to a directory")
	}
	var there unix.Stat_t
	if unix.Fstatat(fd, base, &there, unix.AT_SYMLINK_NOFOLLOW) == nil && there.Ino == st.Ino && there.Dev == st.Dev {
		return nil // the same link once more
	}
	return t.put(fd, base, st.Mode&unix.S_IFMT, func() error { return unix.Linkat(from, targetBase, fd, base, 0) })
}

// node makes a harmless device or a fifo.
func (t *tree) node(name string, kind Kind, h *tar.Header, m meta) error {
	mode, dev := uint32(unix.S_IFIFO), uint64(0)
	if kind == Device {
		mode, dev = unix.S_IFCHR, unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
	}
	fd, base, err := t.parent(name)
	if err != nil {
		return err
	}
	if err := t.put(fd, base, mode, func() error { return unix.Mknodat(fd, base, mode|0o600, int(dev)) }); err != nil {
		return err
	}
	return t.setByName(fd, name, m, true)
}

// harmless tells a device that every container has anyway (Documentation/admin-guide/devices.txt): null, zero, full, random, urandom, tty, console, ptmx, tun and
// fuse; and 0:0, overlayfs's mark of a deleted file. The host's virtual terminals (4:n) are not among them.
func harmless(h *tar.Header) bool {
	if h.Typeflag != tar.TypeChar {
		return false
	}
	switch h.Devmajor {
	case 0:
		return h.Devminor == 0
	case 1:
		return h.Devminor == 3 || h.Devminor == 5 || h.Devminor == 7 || h.Devminor == 8 || h.Devminor == 9
	case 5:
		return h.Devminor >= 0 && h.Devminor <= 2
	case 10:
		return h.Devminor == 200 || h.Devminor == 229
	}
	return false
}

// create opens a new file for writing.
func (t *tree) create(name string) (out int, err error) {
	fd, base, err := t.parent(name)
	if err != nil {
		return -1, err
	}
	err = t.put(fd, base, unix.S_IFREG, func() error {
		out, err = unix.Openat(fd, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	return out, err
}

// procPath names a file in an open folder for the calls that take only paths. The name is one element, and
// the calls used on it do not follow links.
func procPath(fd int, base string) string { return "/proc/self/fd/" + strconv.Itoa(fd) + "/" + base }

// Empty removes everything in dir, but not dir.
func Empty(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	f.Close()
	for _, name := range names {
		err = errors.Join(err, root.RemoveAll(name))
	}
	return err
}
