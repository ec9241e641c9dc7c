package instance

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/storage"
)

// TestStopBesideARecoveryThatHangs: what holds the instance may never come to an end.
func TestStopBesideARecoveryThatHangs(t *testing.T) {
	for name, stop := range map[string]func(h *house) error{
		"by force": func(h *house) error {
			return h.run(h.SetState(h.t.Context(), "default", "c1", api.InstanceStatePut{Action: "stop", Force: true}))
		},
		"as the host shuts down": func(h *house) error { h.StopAll(h.t.Context()); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, nil)
				h.create("c1", nil)
				h.do(h.action("c1", "start"))
				held, err := h.Locks.Acquire(t.Context(), lock.Claim{Action: recovering, Brief: true}, lock.Exclusive(lock.ForInstance("default", "c1")))
				h.do(err)
				began := time.Now()
				if err := stop(h); err != nil || h.show("c1").Status != "Stopped" || time.Since(began) > time.Second {
					t.Errorf("after %v: %v, it is %s", time.Since(began), err, h.show("c1").Status)
				}
				held.Release()
				synctest.Wait()
				if h.runs.get(h.stored("c1").id()) != nil {
					t.Error("nobody has cleaned up after it")
				}
				h.nothingLeft()
				h.do(h.action("c1", "start"))
				h.Close()
				_ = h.Store.Close()
			})
		})
	}
}

// leaveMove moves c1 to p2, and leaves what was in p1.
func leaveMove(h *house) {
	h.t.Helper()
	h.create("c1", nil)
	h.volumes.deleting = func(id storage.VolumeID) error {
		if id.Pool == "p1" {
			return errors.New("read-only file system")
		}
		return nil
	}
	if err := h.run(h.Post(h.t.Context(), "default", "c1", api.InstancePost{Name: "c1", Pool: "p2", Migration: true})); err == nil || h.Journal.Pending() != 1 {
		h.t.Fatalf("the situation is another: %v, %d entries", err, h.Journal.Pending())
	}
}

// TestWhatIsLeftOfAMoveKeepsNobodyFromTheInstance: it is in a pool that hangs, and the instance is in another one.
func TestWhatIsLeftOfAMoveKeepsNobodyFromTheInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		leaveMove(h)
		thawed := make(chan struct{})
		h.volumes.deleting = func(storage.VolumeID) error { <-thawed; return nil }
		settled := make(chan struct{})
		go func() { defer close(settled); h.settle(t.Context(), "default", "c1", "update") }()
		synctest.Wait()
		began := time.Now()
		for _, action := range []string{"start", "stop"} {
			if err := h.action("c1", action); err != nil || time.Since(began) > time.Second {
				t.Errorf("%s: %v after %v", action, err, time.Since(began))
			}
		}
		close(thawed)
		<-settled
		if n := h.Journal.Pending(); n != 0 {
			t.Errorf("%d entries are left", n)
		}
		h.do(h.patch("c1", map[string]string{"user.x": "y"}, nil))
		h.Close()
		_ = h.Store.Close()
	})
}

// TestARecoveryAsksThePoolsFirst: nothing is claimed for one whose pool hangs.
func TestARecoveryAsksThePoolsFirst(t *testing.T) {
	h := newHouse(t, nil)
	leaveMove(h)
	h.volumes.deleting = func(storage.VolumeID) error { t.Error("the pool is used"); return nil }
	h.volumes.hung.Store("p1")
	if err := h.patch("c1", map[string]string{"user.x": "y"}, nil); !api.IsUnavailable(err) || !strings.Contains(err.Error(), `"p1" does not answer`) {
		t.Errorf("a change says %v", err)
	}
	h.volumes.deleting = nil
	h.volumes.hung.Store("")
	h.do(h.patch("c1", map[string]string{"user.x": "y"}, nil))
}
