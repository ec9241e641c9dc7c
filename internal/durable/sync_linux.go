package durable

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// FileSystem has the disk hold all that was written to the file system that a folder is on.
func FileSystem(dir string) error { return synced(dir, unix.Syncfs) }

// busy locks a file that is being written, so that Sweep tells it from what a kill has left; where there are no locks it does not. It is a
// lock of the open file (fcntl_locking(2)), which is no matter to those of flock(2) that databases take.
func busy(f *os.File) { _ = lock(f) }

func lock(f *os.File) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart})
}

// removeIdle removes a file that nobody writes.
func removeIdle(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return ignoreGone(err)
	}
	defer f.Close()
	if err := lock(f); errors.Is(err, unix.EAGAIN) {
		return nil
	}
	return ignoreGone(os.Remove(path))
}
