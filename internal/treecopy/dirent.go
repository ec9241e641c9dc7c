package treecopy

import (
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// entry is one name in a directory with the type that the file system gave for it: unix.DT_UNKNOWN is possible, and
// in a tree that changes it may be out of date.
type entry struct {
	name string
	kind byte
}

var direntBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// readDir lists an open directory from its start, without "." and "..".
func readDir(fd int) ([]entry, error) {
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return nil, fmt.Errorf("rewind folder: %w", err)
	}
	buf := direntBuffers.Get().(*[]byte)
	defer direntBuffers.Put(buf)
	var entries []entry
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(fd, *buf) })
		if err == unix.ENOENT { // it was removed while we hold it
			return entries, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read folder: %w", err)
		}
		if n == 0 {
			return entries, nil
		}
		entries = parseDirents((*buf)[:n], entries)
	}
}

// parseDirents reads the records of getdents64(2): ino u64, off u64, reclen u16, type u8, name with a final NUL.
func parseDirents(data []byte, entries []entry) []entry {
	const header = 19
	for len(data) >= header {
		size := int(binary.NativeEndian.Uint16(data[16:]))
		if size < header || size > len(data) {
			break
		}
		name := data[header:size]
		for i, c := range name {
			if c == 0 {
				name = name[:i]
				break
			}
		}
		if s := string(name); s != "." && s != ".." && s != "" {
			entries = append(entries, entry{name: s, kind: data[18]})
		}
		data = data[size:]
	}
	return entries
}

// retry repeats a system call that a signal interrupted.
func retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if err != unix.EINTR {
			return v, err
		}
	}
}

// openDirBelow opens the folder name inside dir; it follows no link and enters no mount (EXDEV).
func openDirBelow(dir int, name string) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	return retry(func() (int, error) {
		fd, err := unix.Openat2(dir, name, &how)
		if err == unix.EAGAIN { // a rename elsewhere raced with the walk
			err = unix.EINTR
		}
		return fd, err
	})
}
