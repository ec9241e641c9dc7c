// Package durable makes files survive a power failure.
package durable

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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

// WriteFile makes a file, or replaces it, whole or not at all, by way of a temporary one beside it, which is what write gets.
func WriteFile(path string, mode fs.FileMode, write func(f *os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp*")
	if err != nil {
		return err
	}
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
