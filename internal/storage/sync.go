package storage

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// syncContent has the file system of a volume's folder write what it holds to the disk. It is for content that will be relied upon for
// longer than what it was made from: an image's prepared copy, of which instances are made from then on, and what is moved, whose
// source is removed next. New instances, as any files, may be lost with the power until the kernel has written them.
func syncContent(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Syncfs(fd); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
