package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fileLock is held by the one process that may write a store. The file stays; the kernel drops the lock with the
// process, however it ends.
type fileLock struct{ f *os.File }

func lockFile(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = waitForKilled(f)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	// Who holds the lock is for people: that it cannot be written (a full disk) is no reason not to start.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &fileLock{f}, nil
}

func (l *fileLock) release() { _ = l.f.Close() }

// endTime bounds the wait for a process that is about to be gone.
const endTime = 10 * time.Second

// waitForKilled waits for the lock of a process that has been killed: it lets go of its files only when the last of its threads has
// ended, after it has gone for whoever killed it. Of one that lives it says ErrLocked at once.
func waitForKilled(f *os.File) error {
	holder, _ := io.ReadAll(io.LimitReader(f, 64))
	pid := strings.TrimSpace(string(holder))
	locked := ErrLocked
	if pid != "" {
		locked = fmt.Errorf("%w (process %s)", ErrLocked, pid)
	}
	if n, err := strconv.Atoi(pid); err != nil || !ending(n) {
		return locked
	}
	got := make(chan error, 1)
	go func() { got <- flock(f, unix.LOCK_EX) }()
	select {
	case err := <-got:
		return err
	case <-time.After(endTime):
		return locked // the goroutine is left behind: whoever is refused the store ends
	}
}

// ending tells whether a process has been killed: its first thread is a zombie, or all of it is gone.
func ending(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	_, state, _ := bytes.Cut(raw[bytes.LastIndexByte(raw, '(')+1:], []byte(") "))
	return bytes.HasPrefix(state, []byte("Z")) || bytes.HasPrefix(state, []byte("X"))
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// InUse tells whether a process has the store at path open to write to it. It waits for nobody.
func InUse(path string) (bool, error) {
	f, err := os.Open(path + ".lock")
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	return held(f)
}
