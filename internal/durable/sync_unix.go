//go:build unix

package durable

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Dir has the disk hold a folder's entries: without it a file that was made, renamed or removed there may come back as it was before, however
// well its content was synced.
func Dir(path string) error { return synced(path, unix.Fsync) }

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
