//go:build unix

package cliconf

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lockFile locks a file that is there for that alone. Whoever has it reads and writes a small file, so it is waited for. Where the file
// system knows no locks there is none.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil, errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOSYS):
			return func() { _ = f.Close() }, nil
		}
		return nil, errors.Join(err, f.Close())
	}
}
