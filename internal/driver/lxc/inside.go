package lxc

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// lookTime bounds the look-up of a path inside. A guest that mounts a file system of its own there, by FUSE, can delay it forever.
var lookTime = 10 * time.Second

// errLate says that a path inside was not found in time.
var errLate = errors.New("a file system inside the instance does not answer")

// inside runs f on a thread that is in the instance's mount namespace, and lets the thread end with it. The init must be held.
//
// f first looks up its path, which may take forever, and then calls wanted. That is false once lookTime has passed or ctx has ended: inside has
// returned by then, and f's thread is left behind until the guest's file system answers or the container ends. Before it calls wanted, f must
// not use anything that the caller closes.
func inside(ctx context.Context, i *initProcess, f func(wanted func() bool) error) error {
	var decided atomic.Bool
	decide := func() bool { return decided.CompareAndSwap(false, true) }
	entered, done := make(chan error, 1), make(chan error, 1)
	go onThread(i, entered, func() { done <- f(decide) })
	if err := <-entered; err != nil {
		return err
	}
	late := time.NewTimer(lookTime)
	defer late.Stop()
	err := errLate
	select {
	case err := <-done:
		return err
	case <-late.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if decide() {
		return err
	}
	return <-done
}

// onThread runs f on a thread that has entered the instance and says so, or why it has not.
func onThread(i *initProcess, entered chan<- error, f func()) {
	goruntime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread does not end, and /proc/self is what it sees: another one must go. It is another while
		// this one is locked.
		began := make(chan error, 1)
		go onThread(i, began, f)
		entered <- <-began
		goruntime.UnlockOSThread()
		return
	}
	// Never unlocked from here on: the thread is of no use to anyone else.
	err := unix.Unshare(unix.CLONE_FS)
	if err == nil {
		err = unix.Setns(i.fd, unix.CLONE_NEWNS)
	}
	if err != nil {
		entered <- fmt.Errorf("entering the instance: %w", err)
		return
	}
	entered <- nil
	f()
}
