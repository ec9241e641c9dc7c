package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Holder is the process that had a store open to write to it when it was looked for. It may be one of another PID namespace, in which its number
// means nothing: it is known by the lock alone.
type Holder struct {
	lock  *os.File
	since time.Time // when the lock was taken, which is when its file was written to last
}

// ErrUnused is that no process has a store open to write to it.
var ErrUnused = errors.New("store is not in use")

// HolderOf is whoever has the store at path open to write to it, or ErrUnused. Callers that may not see the lock get the kernel's error.
func HolderOf(path string) (*Holder, error) {
	f, err := os.Open(path + ".lock")
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	held, err := held(f)
	if err == nil && !held {
		err = ErrUnused
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Holder{f, info.ModTime()}, nil
}

// held tries the lock, and has it for no longer than that.
func held(f *os.File) (bool, error) {
	err := flock(f, unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, errors.Join(err, flock(f, unix.LOCK_UN))
}

// Is tells whether it is the process that has this number here.
func (h *Holder) Is(pid int) bool {
	mine, err := h.lock.Stat()
	if err != nil {
		return false
	}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		info, err := os.Stat(link)
		if err != nil || !os.SameFile(info, mine) {
			continue
		}
		// Whoever only asks has the file open too, such as this process.
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, filepath.Base(link)))
		if err == nil && bytes.Contains(state, []byte("FLOCK")) && bytes.Contains(state, []byte("WRITE")) {
			return true
		}
	}
	return false
}

// Wait returns when the process has let go of the store, at its end at the latest. The kernel would tell at once, but also have others wait
// for whoever waits to be told, and another process may have the lock by then.
func (h *Holder) Wait(ctx context.Context) error {
	for {
		held, err := held(h.lock)
		if err != nil || !held {
			return err
		}
		if info, err := h.lock.Stat(); err != nil || !info.ModTime().Equal(h.since) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Close forgets the process.
func (h *Holder) Close() { _ = h.lock.Close() }
