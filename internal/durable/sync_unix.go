//go:build unix

package durable

import (
	"errors"
	"fmt"
	"os"

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

// busy locks a file that is being written, so that Sweep tells it from what a kill has left; where there are no locks it does not.
func busy(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_EX) }

// removeIdle removes a file that nobody writes.
func removeIdle(path string) error {
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
