package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/omitted"
)

// meta is what an entry carries beside its content.
type meta struct {
	uid, gid int
	mode     uint32
	mtime    unix.Timespec
	xattrs   map[string]string
	dropped  []string // names of attributes that are not for here
}

type lateDir struct {
	name string
	meta meta
}

// lateOverhead is the memory that a lateDir takes besides its strings, in bytes, its entry in a map included.
const lateOverhead = 256

const xattrRecord = "SCHILY.xattr."

func metaOf(h *tar.Header) meta {
	m := meta{uid: h.Uid, gid: h.Gid, mode: uint32(h.Mode) & 0o7777, mtime: timespec(h.ModTime)}
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrRecord)
		switch {
		case !ok:
		case !keepXattr(name):
			m.dropped = append(m.dropped, name)
		default:
			if m.xattrs == nil {
				m.xattrs = map[string]string{}
			}
			m.xattrs[name] = value
		}
	}
	return m
}

// keepXattr lists the attributes that are part of a file. Others (trusted.*, security.selinux, security.ima …) belong to
// the host that the archive was made on, and would be dangerous or wrong here.
func keepXattr(name string) bool {
	return name == "security.capability" || name == "system.posix_acl_access" || name == "system.posix_acl_default" ||
		strings.HasPrefix(name, "user.")
}

// timespec is a time as the kernel takes it, which holds it to what the file system can keep.
func timespec(t time.Time) unix.Timespec {
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

func (u *unpacker) directory(name string, m meta) error {
	if name != "." {
		if err := u.tree.mkdir(name); err != nil {
			return err
		}
	}
	u.held += len(name) + lateOverhead
	for key, value := range m.xattrs {
		u.held += len(key) + len(value) + lateOverhead
	}
	if u.held > maxLate {
		return overLimit("too many directories")
	}
	u.late = append(u.late, lateDir{name, m})
	return nil
}

func (u *unpacker) file(r io.Reader, name string, size int64, m meta) error {
	if name == "." {
		return refused("the top of the archive is not a directory")
	}
	fd, err := u.tree.create(name)
	if err != nil {
		return err
	}
	err = writeAll(fd, r, size, u.buf, u.room)
	if err == nil {
		err = u.tree.setByHandle(fd, name, m)
	}
	if closeErr := unix.Close(fd); err == nil && closeErr != nil {
		err = fmt.Errorf("write: %w", closeErr)
	}
	return err
}

// finishDirs gives directories their owner, mode and times, the deepest first, when nothing is made in them any more.
func (u *unpacker) finishDirs() error {
	how := beneath
	how.Flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	seen := make(map[string]bool, len(u.late))
	for i := len(u.late) - 1; i >= 0; i-- {
		d := u.late[i]
		if seen[d.name] {
			continue // the last entry of a repeated name counts
		}
		seen[d.name] = true
		fd, err := u.tree.open(d.name, &how)
		if err != nil {
			return fmt.Errorf("directory %q: %w", shorten(d.name), err)
		}
		err = u.tree.setByHandle(fd, d.name, d.meta)
		_ = unix.Close(fd)
		if err != nil {
			return fmt.Errorf("directory %q: %w", shorten(d.name), err)
		}
	}
	return nil
}

// setByHandle applies m to an open file. Owner comes first: changing it takes set-id bits and capabilities away.
func (t *tree) setByHandle(fd int, file string, m meta) error {
	if err := unix.Fchown(fd, m.uid, m.gid); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	if err := unix.Fchmod(fd, m.mode); err != nil {
		return fmt.Errorf("set mode: %w", err)
	}
	for name, value := range m.xattrs {
		kept, err := t.kept(file, name, unix.Fsetxattr(fd, name, []byte(value), 0))
		if mode := idmap.ModeWithout(name, []byte(value), m.mode); err == nil && !kept && mode != m.mode {
			err = unix.Fchmod(fd, mode)
		}
		if err != nil {
			return err
		}
	}
	return futimes(fd, m.mtime)
}

// futimes sets both times of an open file. The library's Futimes goes through a path in /proc, at twice the price.
func futimes(fd int, at unix.Timespec) error {
	times := [2]unix.Timespec{at, at}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("set times: %w", errno)
	}
	return nil
}

// setByName applies m to what cannot be opened: a link, a device, a fifo, which is in the open folder fd. Links have no mode of their own.
func (t *tree) setByName(fd int, file string, m meta, mode bool) error {
	base := path.Base(file)
	if m.uid != t.euid || m.gid != t.egid {
		if err := unix.Fchownat(fd, base, m.uid, m.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("set owner: %w", err)
		}
	}
	if mode {
		// Not followed: base was made a moment ago in a folder that nobody else can write to, and is no link.
		if err := unix.Fchmodat(fd, base, m.mode, 0); err != nil {
			return fmt.Errorf("set mode: %w", err)
		}
	}
	for name, value := range m.xattrs {
		kept, err := t.kept(file, name, unix.Lsetxattr(procPath(fd, base), name, []byte(value), 0))
		if narrow := idmap.ModeWithout(name, []byte(value), m.mode); err == nil && !kept && mode && narrow != m.mode {
			err = unix.Fchmodat(fd, base, narrow, 0)
		}
		if err != nil {
			return err
		}
	}
	times := []unix.Timespec{m.mtime, m.mtime}
	if err := unix.UtimesNanoAt(fd, base, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// kept tells from the error of setting an attribute whether the file has it. It lets pass that the file system cannot hold it, as tar does: the file is still
// there, and it is said what it lacks.
func (t *tree) kept(file, name string, err error) (bool, error) {
	switch {
	case err == nil:
		return true, nil
	case omitted.XattrUnsupported(t.root, err), errors.Is(err, unix.EPERM) && strings.HasPrefix(name, "user."):
		t.lost.Add(file, "attribute %s cannot be kept on this file system: %v", name, err)
		return false, nil
	case errors.Is(err, unix.EINVAL):
		return false, refused("attribute %s: %w", name, err)
	}
	return false, fmt.Errorf("set attribute %s: %w", name, err)
}
