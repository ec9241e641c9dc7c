package treecopy

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/omitted"
)

// Attributes gives an open file the owner, mode and extended attributes of another one on its file system, as for one that is to take its place.
func Attributes(target, source *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(source.Fd()), &st); err != nil {
		return err
	}
	c := &copier{root: int(target.Fd())}
	return c.rights(c.root, int(source.Fd()), nil, ".", &st)
}

// attributes gives an open file or folder the owner, mode, extended attributes and times of its source.
func (c *copier) attributes(target, source int, rel *Path, name string, st *unix.Stat_t) error {
	if err := c.rights(target, source, rel, name, st); err != nil {
		return err
	}
	if err := futimens(target, st); err != nil {
		return fmt.Errorf("times: %w", err)
	}
	return nil
}

// rights is attributes without the times. The order matters: a change of owner takes away set-id bits and file capabilities.
func (c *copier) rights(target, source int, rel *Path, name string, st *unix.Stat_t) error {
	if !c.plain || st.Uid != 0 || st.Gid != 0 {
		if err := unix.Fchown(target, int(st.Uid), int(st.Gid)); err != nil {
			return fmt.Errorf("owner: %w", err)
		}
	}
	mode := st.Mode & 0o7777
	if !c.plain || st.Mode&unix.S_IFMT != unix.S_IFREG || mode&^0o777 != 0 || mode&c.umask != 0 {
		if err := unix.Fchmod(target, mode); err != nil {
			return fmt.Errorf("mode: %w", err)
		}
	}
	narrow, err := c.xattrs(rel, name, mode,
		func(buf []byte) (int, error) { return unix.Flistxattr(source, buf) },
		func(name string, buf []byte) (int, error) { return unix.Fgetxattr(source, name, buf) },
		func(name string, value []byte) error { return unix.Fsetxattr(target, name, value, 0) },
	)
	if err == nil && narrow != mode {
		err = unix.Fchmod(target, narrow)
	}
	return err
}

// special copies a symbolic link, device node, pipe or socket.
func (c *copier) special(from, to int, rel *Path, name string, st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		target, err := readlink(from, name, st.Size)
		if err != nil {
			return gone(err)
		}
		if err := unix.Symlinkat(target, to, name); err != nil {
			return err
		}
	} else {
		if err := unix.Mknodat(to, name, st.Mode&unix.S_IFMT|0o600, int(st.Rdev)); err != nil {
			return err
		}
	}
	if !c.plain || st.Uid != 0 || st.Gid != 0 {
		if err := unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("owner: %w", err)
		}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		// The target tree is ours alone, so the name is still the node made above.
		if err := unix.Fchmodat(to, name, st.Mode&0o7777, 0); err != nil {
			return fmt.Errorf("mode: %w", err)
		}
	}
	mode := st.Mode & 0o7777
	narrow, err := c.xattrs(rel, name, mode,
		func(buf []byte) (int, error) { return listxattrAt(from, name, buf) },
		func(attr string, buf []byte) (int, error) { return unix.Lgetxattr(below(from, name), attr, buf) },
		func(attr string, value []byte) error { return unix.Lsetxattr(below(to, name), attr, value, 0) },
	)
	if err == nil && narrow != mode {
		err = unix.Fchmodat(to, name, narrow, 0)
	}
	if err != nil {
		return err
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(to, name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("times: %w", err)
	}
	return nil
}

// below is a path to name inside an open folder, for calls that take no folder: the link in /proc leads to the
// folder itself, and name is one element that the l-calls do not follow.
func below(dir int, name string) string { return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name }

func readlink(dir int, name string, size int64) (string, error) {
	for n := max(int(min(size, unix.PathMax)), 64) + 1; ; n *= 2 {
		buf := make([]byte, n)
		got, err := unix.Readlinkat(dir, name, buf)
		if err == unix.EINVAL { // it is no link any more
			err = unix.ENOENT
		}
		if err != nil {
			return "", err
		}
		if got < n {
			return string(buf[:got]), nil
		}
	}
}

// xattrs copies all extended attributes of a file. Those that the target's file system cannot hold are left out, and noted; it returns the mode that the
// file is to have then.
func (c *copier) xattrs(rel *Path, name string, mode uint32, list func([]byte) (int, error), get func(string, []byte) (int, error),
	set func(string, []byte) error) (uint32, error) {
	if c.noXattr.Load() {
		return mode, nil
	}
	var array [256]byte
	names, err := whole(array[:], list)
	if err == unix.EOPNOTSUPP {
		c.noXattr.Store(true)
		return mode, nil
	}
	if err != nil {
		return mode, gone(err)
	}
	for _, raw := range bytes.Split(names, []byte{0}) {
		if len(raw) == 0 {
			continue
		}
		attr := string(raw)
		var array [256]byte
		value, err := whole(array[:], func(buf []byte) (int, error) { return get(attr, buf) })
		if err == unix.ENODATA || err == unix.EOPNOTSUPP {
			continue
		}
		if err != nil {
			return mode, fmt.Errorf("read attribute %s: %w", attr, err)
		}
		if err := set(attr, value); err != nil && !optional(attr) {
			if !omitted.XattrUnsupported(c.root, err) {
				return mode, fmt.Errorf("set attribute %s: %w", attr, err)
			}
			mode = idmap.ModeWithout(attr, value, mode)
			c.lost.Add(rel.Join(name).String(), "attribute %s cannot be kept on this file system: %v", attr, err)
		}
	}
	return mode, nil
}

// optional tells whether a copy is whole without an attribute that could not be set: it is about where the file lay.
func optional(name string) bool {
	return strings.HasPrefix(name, "btrfs.") || name == "security.selinux"
}

// whole calls get with a buffer that grows until the answer fits.
func whole(buf []byte, get func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := get(buf)
		if err == nil {
			return buf[:n], nil
		}
		if err != unix.ERANGE || len(buf) > 1<<20 {
			return nil, err
		}
		buf = make([]byte, len(buf)*4)
	}
}

func futimens(fd int, st *unix.Stat_t) error {
	times := [2]unix.Timespec{st.Atim, st.Mtim}
	return utimensat(fd, &times)
}

// umask reads the process's umask without changing it; all bits if it cannot be read.
func umask() uint32 {
	// lint:allow guest-paths: a fixed path of the host
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0o777
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "Umask:"); ok {
			if n, err := strconv.ParseUint(strings.TrimSpace(value), 8, 32); err == nil {
				return uint32(n)
			}
		}
	}
	return 0o777
}
