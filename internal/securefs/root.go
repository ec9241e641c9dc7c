// Package securefs reaches files inside a guest's root file system without ever leaving it.
//
// Paths are the guest's: the kernel resolves them beneath a handle of the guest's root (openat2 with
// RESOLVE_IN_ROOT), so that absolute links and ".." mean what they mean inside, whoever changes the tree meanwhile, and
// the magic links of a /proc are refused. Nothing but regular files, directories and links is ever opened: a FIFO
// cannot block and a device cannot be touched. Nor are the kernel's own files in a guest's /proc and /sys written.
package securefs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Root is a handle of a guest's root directory.
type Root struct {
	fd    int
	owned func(uid, gid int) bool // see Limit; nil: everything is the guest's
}

// Owner is who a new object belongs to, in IDs of the host.
type Owner struct{ UID, GID int }

// Info is what is known of an object, in IDs of the host.
type Info struct {
	Mode    fs.FileMode // type and permissions
	UID     int
	GID     int
	Size    int64
	ModTime time.Time
}

// ErrNotRegular is that something is neither a regular file, nor whatever else the call is for.
var ErrNotRegular = errors.New("not a regular file")

// Open takes a directory of the host as root. path itself may be anything that leads to a directory, such as
// "/proc/<pid>/root".
func Open(path string) (*Root, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Root{fd: fd}, nil
}

// Close lets go of the root. Files opened beneath it stay open.
func (r *Root) Close() error { return unix.Close(r.fd) }

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// openat resolves a guest's path. EAGAIN means that the tree was being renamed under us.
func (r *Root) openat(name string, flags int, perm uint32) (int, error) {
	if strings.ContainsRune(name, 0) {
		return -1, unix.EINVAL
	}
	if name == "" {
		name = "."
	}
	how := &unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Mode:    uint64(perm),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for range 1000 {
		fd, err := retry(func() (int, error) { return unix.Openat2(r.fd, name, how) })
		if !errors.Is(err, unix.EAGAIN) {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

// parent opens the directory that a path's last element is in, links followed, for a change of what is in it.
func (r *Root) parent(name string) (dir int, base string, err error) {
	trimmed := strings.TrimRight(name, "/")
	above, base := path.Split(trimmed)
	if base == "" || base == "." || base == ".." {
		return -1, "", unix.EBUSY
	}
	if dir, err = r.openat(above, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
		return -1, "", err
	}
	if err := r.allow(dir, mayWrite|maySearch); err != nil {
		_ = unix.Close(dir)
		return -1, "", err
	}
	return dir, base, nil
}

func wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Stat tells of what a path leads to; Lstat of the path itself, be it a link.
func (r *Root) Stat(name string) (Info, error) { return r.stat(name, 0) }

// Lstat tells of the object itself, be it a link.
func (r *Root) Lstat(name string) (Info, error) { return r.stat(name, unix.O_NOFOLLOW) }

func (r *Root) stat(name string, flags int) (Info, error) {
	fd, err := r.openat(name, unix.O_PATH|flags, 0)
	if err != nil {
		return Info{}, wrap("stat", name, err)
	}
	defer unix.Close(fd)
	info, err := fdInfo(fd)
	return info, wrap("stat", name, err)
}

func fdInfo(fd int) (Info, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Info{}, err
	}
	return infoOf(&st), nil
}

func infoOf(st *unix.Stat_t) Info {
	return Info{
		Mode: fileMode(st.Mode), UID: int(st.Uid), GID: int(st.Gid), Size: st.Size,
		ModTime: time.Unix(st.Mtim.Unix()),
	}
}

// FileInfo tells of a file that was opened beneath a root.
func FileInfo(f *os.File) (Info, error) {
	info, err := fdInfo(int(f.Fd()))
	return info, wrap("stat", f.Name(), err)
}

func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= flag
		}
	}
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return m
	case unix.S_IFDIR:
		return m | fs.ModeDir
	case unix.S_IFLNK:
		return m | fs.ModeSymlink
	case unix.S_IFIFO:
		return m | fs.ModeNamedPipe
	case unix.S_IFSOCK:
		return m | fs.ModeSocket
	case unix.S_IFCHR:
		return m | fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		return m | fs.ModeDevice
	default:
		return m | fs.ModeIrregular
	}
}

// Permissions is mode as chmod takes it, with the set-ID and sticky bits.
func Permissions(mode fs.FileMode) uint32 {
	p := uint32(mode.Perm())
	for bit, flag := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if mode&flag != 0 {
			p |= bit
		}
	}
	return p
}

// ReadDir lists the names in a directory, sorted, links followed.
func (r *Root) ReadDir(name string) ([]string, error) {
	fd, err := r.openat(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, wrap("readdir", name, err)
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	if err := r.allow(fd, mayRead); err != nil {
		return nil, wrap("readdir", name, err)
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, wrap("readdir", name, err)
	}
	sort.Strings(names)
	return names, nil
}

// Readlink returns where a link leads.
func (r *Root) Readlink(name string) (string, error) {
	fd, err := r.openat(name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", wrap("readlink", name, err)
	}
	defer unix.Close(fd)
	buf := make([]byte, unix.PathMax+1)
	n, err := retry(func() (int, error) { return unix.Readlinkat(fd, "", buf) })
	if err != nil {
		return "", wrap("readlink", name, err)
	}
	return string(buf[:n]), nil
}
