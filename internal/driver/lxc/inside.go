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

// lookTime is how long a path inside may take to be found. Who has a file system of their own there, as by FUSE, decides when it answers.
var lookTime = 10 * time.Second

// errLate says that a path inside was not found in time.
var errLate = errors.New("a file system inside the instance does not answer")

// inside runs f on a thread that is in the instance's mount namespace, and lets the thread end with it. The init must be held.
//
// f looks for a path, which may take for ever, and then asks whether it is still wanted: after lookTime, or the end of ctx, it is not, and its
// thread is left to itself. It ends with the guest's file system, with the container at the latest. Before it has asked, f must use nothing
// that the caller lets go of.
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
