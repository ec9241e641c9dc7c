package lxc

import (
	"context"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
)

// leavesAlone checks that a daemon does nothing to what it could not take over.
func (h *host) leavesAlone(d *Driver, id string) {
	h.Helper()
	if got := d.Status(id); got != api.StatusError {
		h.Errorf("the status is %v", got)
	}
	_, start := d.Start(h.context(), h.spec(id))
	for action, err := range map[string]error{
		"start": start, "kill": d.Kill(h.context(), id), "shutdown": d.Shutdown(h.context(), id), "freeze": d.Freeze(h.context(), id),
	} {
		if api.StatusOf(err) != http.StatusServiceUnavailable {
			h.Errorf("%s: %v", action, err)
		}
	}
	if pids, err := d.payload(id).Procs(); err != nil || len(pids) == 0 {
		h.Errorf("its processes: %v, %v", pids, err)
	}
}

func TestWhatIsBeingStartedForTooLongIsLeftAlone(t *testing.T) {
	h := newHost(t)
	first := h.driver()
	h.start(first, h.spec("c1"))
	h.start(first, h.spec("c2"))
	lock, err := first.lock(h.context(), "c1", unix.LOCK_EX) // as the process of a start that hangs holds it
	h.do(err)

	second := h.driver()
	short, cancel := context.WithTimeout(h.context(), 100*time.Millisecond)
	defer cancel()
	found, err := second.Find(short, anyone)
	h.do(err)
	if found["c1"].Err == nil || found["c2"].Err != nil || found["c2"].InitPID == 0 {
		t.Errorf("found %+v", found)
	}
	h.leavesAlone(second, "c1")
	for id, want := range map[string]api.StatusCode{"c2": api.Running, "never": api.Stopped} {
		if got := second.Status(id); got != want {
			t.Errorf("%s is %v", id, got)
		}
	}

	h.do(lock.Close())
	found, err = second.Find(h.context(), anyone)
	h.do(err)
	if found["c1"].Err != nil || second.Status("c1") != api.Running {
		t.Errorf("once the lock is free: %+v, %v", found["c1"], second.Status("c1"))
	}
}

// TestWhatIsCleanedUpIsNotLost: an instance whose stop was cut off, and which could not be taken over, is ended by its clean-up.
func TestWhatIsCleanedUpIsNotLost(t *testing.T) {
	h := newHost(t)
	first := h.driver()
	h.start(first, h.spec("c1"))
	lock, err := first.lock(h.context(), "c1", unix.LOCK_EX)
	h.do(err)
	second := h.driver()
	short, cancel := context.WithTimeout(h.context(), 100*time.Millisecond)
	defer cancel()
	_, err = second.Find(short, anyone)
	h.do(err)
	h.do(lock.Close())
	if got := second.Status("c1"); got != api.StatusError {
		t.Fatalf("the status is %v", got)
	}
	h.do(second.Cleanup(h.context(), "c1", ""))
	if got := second.Status("c1"); got != api.Stopped {
		t.Errorf("after the clean-up the status is %v", got)
	}
	h.start(second, h.spec("c1"))
}
