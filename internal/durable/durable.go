// Package durable makes files survive a power failure.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir has the disk hold a folder's entries: without it a file that was made, renamed or removed there may come back as it was before, however
// well its content was synced.
func Dir(path string) error { return synced(path, unix.Fsync) }

// FileSystem has the disk hold all that was written to the file system that a folder is on.
func FileSystem(dir string) error { return synced(dir, unix.Syncfs) }

func synced(dir string, sync func(fd int) error) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := sync(fd); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// Rename puts a file whose content was synced in the place of another.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return Dir(filepath.Dir(to))
}

// tmp is between the name of a file and the number that makes that of the temporary one.
const tmp = ".tmp"

// WriteFile makes a file, or replaces it, whole or not at all, by way of a temporary one beside it, which is what write gets. What a kill
// leaves of it Sweep removes.
func WriteFile(path string, mode fs.FileMode, write func(f *os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+tmp+"*")
	if err != nil {
		return err
	}
	_ = unix.Flock(int(f.Fd()), unix.LOCK_EX) // so Sweep tells it from what a kill has left; where there are no locks it does not
	defer func() {
		_ = f.Close()
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return Rename(f.Name(), path)
}

// Sweep removes what calls of WriteFile that were killed have left of path, or of files beside it that are named path and a dot and more. What is
// being written stays.
func Sweep(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var all error
	for _, e := range entries {
		if e.Type().IsRegular() && isTemporary(e.Name(), filepath.Base(path)) {
			all = errors.Join(all, removeUnlocked(filepath.Join(filepath.Dir(path), e.Name())))
		}
	}
	return all
}

// isTemporary tells whether WriteFile makes files of a name for what is called base, or base and a dot and more.
func isTemporary(name, base string) bool {
	n := strings.LastIndex(name, tmp)
	if n < 0 {
		return false
	}
	of, number := name[:n], name[n+len(tmp):]
	return (of == base || strings.HasPrefix(of, base+".")) && number != "" && strings.Trim(number, "0123456789") == ""
}

func removeUnlocked(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return ignoreGone(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	return ignoreGone(os.Remove(path))
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
