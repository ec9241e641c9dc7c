package lxc

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openNamespace opens a descriptor's namespace. What it is shows only once it is held; to hold it so opens nothing.
func openNamespace(dir int, path string) (*os.File, error) {
	held, err := openAt(dir, path, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer func() { _ = held.Close() }()
	return reopen(int(held.Fd()), path)
}

// reopen opens a namespace that a descriptor of a path is of.
func reopen(path int, name string) (*os.File, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(path, &fs); err != nil {
		return nil, err
	}
	if fs.Type != unix.NSFS_MAGIC {
		return nil, unix.ENOENT // it was, and is something else by now
	}
	if errSelf != nil {
		return nil, errSelf
	}
	fd, err := unix.Openat(self, "fd/"+strconv.Itoa(path), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func openAt(dir int, path string, flags int) (*os.File, error) {
	fd, err := unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// maxText bounds what is read of a file in /proc.
const maxText = 64 << 10

func readProc(dir int, path string) ([]byte, error) {
	f, err := openAt(dir, path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text := make([]byte, maxText)
	n := 0
	for n < len(text) {
		got, err := f.Read(text[n:])
		n += got
		if err != nil || got == 0 {
			break
		}
	}
	return text[:n], nil
}

func listAt(dir int, path string) ([]string, error) {
	f, err := openAt(dir, path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	names, err := f.Readdirnames(maxDescriptors + 1)
	if len(names) > 0 {
		err = nil
	}
	slices.Sort(names)
	return names, err
}

// field is a value of a file of lines such as "flags:\t0100".
func field(lines []byte, key string) string {
	for line := range strings.Lines(string(lines)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
