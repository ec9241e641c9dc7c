package instance

import (
	"errors"
	"strings"
	"sync/atomic"
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

// TestARecoveryAsksThePoolsFirst: nothing is claimed for one whose pool hangs.
func TestARecoveryAsksThePoolsFirst(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	c := changeOf(h.stored("c1"))
	c.NewPool = "p2"
	entry, err := h.Journal.Begin(t.Context(), kindMove, c)
	h.do(err)
	entry.Leave(errors.New("read-only file system"))
	h.volumes.deleting = func(storage.VolumeID) error { t.Error("the pool is used"); return nil }
	h.volumes.hung.Store("p2")
	if err := h.patch("c1", map[string]string{"user.x": "y"}, nil); !api.IsUnavailable(err) || !strings.Contains(err.Error(), `"p2" does not answer`) {
		t.Errorf("a change says %v", err)
	}
	h.do(h.action("c1", "start"))
	h.volumes.deleting = nil
	h.volumes.hung.Store("")
	h.do(h.patch("c1", map[string]string{"user.x": "y"}, nil))
	if n := h.Journal.Pending(); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

// TestPoolsThatARecoveryWorksIn are those of each thing that its entry names.
func TestPoolsThatARecoveryWorksIn(t *testing.T) {
	h := newHouse(t, nil)
	for _, entry := range []string{`{"pool": "p2"}`, `{"pool": "p1", "new_pool": "p2"}`, `{"volumes": [{"pool": "p2"}]}`} {
		h.do(h.poolsAnswer(t.Context(), &Instance{}, []byte(entry)))
		h.volumes.hung.Store("p2")
		if err := h.poolsAnswer(t.Context(), &Instance{}, []byte(entry)); !api.IsUnavailable(err) {
			t.Errorf("%s: %v", entry, err)
		}
		h.volumes.hung.Store("")
	}
}

// takeover ends what has c1 and gives it to another action, in the background. It returns whether that has it by now, and what gives it back.
func (h *house) takeover(held *lock.Held, then func()) (has func() bool) {
	var got atomic.Bool
	held.Release()
	go func() {
		next, err := h.Locks.Acquire(h.t.Context(), claim("restore", lock.Short), lock.Exclusive(lock.ForInstance("default", "c1")))
		if err != nil {
			h.t.Error(err)
			return
		}
		got.Store(true)
		then()
		next.Release()
	}()
	synctest.Wait()
	return got.Load
}

// TestAForcedStopEndsNothingOfWhoComesNext: what had the instance when it looked, a recovery or another stop, ends before it has killed anything, and a
// restore waits for the instance.
func TestAForcedStopEndsNothingOfWhoComesNext(t *testing.T) {
	for _, action := range []string{recovering, "stop"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, nil)
			h.create("c1", nil)
			h.do(h.action("c1", "start"))
			held, err := h.Locks.Acquire(t.Context(), lock.Claim{Action: action, Brief: true}, lock.Exclusive(lock.ForInstance("default", "c1")))
			h.do(err)
			restored := make(chan bool, 1)
			h.rt.onEnd = func(string) {
				h.rt.mu.Lock()
				h.rt.onEnd = nil
				h.rt.mu.Unlock()
				if h.takeover(held, func() { restored <- h.running(h.stored("c1")) })() {
					t.Errorf("%s: another change has the instance when its processes are killed", action)
				}
			}
			h.do(h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "stop", Force: true})))
			if <-restored {
				t.Errorf("%s: it runs once the other change has it", action)
			}
			h.Close()
			_ = h.Store.Close()
		})
	}
}

// TestAStopBesideARecoveryThatIsOver ends nothing: neither the run of a change that has the instance by now, nor another run than the one it was for.
func TestAStopBesideARecoveryThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.create("c1", nil)
		h.do(h.action("c1", "start"))
		recovery := func() *lock.Held {
			held, err := h.Locks.Acquire(t.Context(), lock.Claim{Action: recovering, Brief: true}, lock.Exclusive(lock.ForInstance("default", "c1")))
			h.do(err)
			return held
		}
		held, i := recovery(), h.stored("c1")
		r := h.urgent(i, held, true)
		if r == nil || r != h.runs.get(i.id()) {
			t.Fatalf("the run to be ended is %v", r)
		}
		held.Release()
		try := func(held *lock.Held) {
			t.Helper()
			if stopped, err := h.stopBeside(t.Context(), i, r, held, true, 0); stopped || err != nil || len(h.rt.kills) > 0 || h.stored("c1").Stopping != "" {
				t.Errorf("stopped: %v, %v; killed: %q, recorded as %q", stopped, err, h.rt.kills, h.stored("c1").Stopping)
			}
		}
		try(held) // whoever has it now
		h.do(h.action("c1", "restart"))
		held = recovery()
		try(held) // a later run
		other := i.clone()
		other.UUID = "another's"
		if h.urgent(other, held, true) != nil {
			t.Error("the run of another instance of that name is to be ended")
		}
		held.Release()
		h.do(h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "stop", Force: true})))
		h.nothingLeft()
		h.Close()
		_ = h.Store.Close()
	})
}

// TestAForcedStopAfterOneThatFailed stops, although there is none any more to be hastened.
func TestAForcedStopAfterOneThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.create("c1", nil)
		h.do(h.action("c1", "start"))
		held, err := h.Locks.Acquire(t.Context(), claim("stop", lock.Short), lock.Exclusive(lock.ForInstance("default", "c1")))
		h.do(err)
		held.Release()
		i := h.stored("c1")
		if joined, err := h.joinStop(t.Context(), i, held, true); joined || err != nil || len(h.rt.kills) > 0 {
			t.Errorf("joined: %v, %v; killed: %q", joined, err, h.rt.kills)
		}
		h.do(h.action("c1", "stop"))
		if joined, err := h.joinStop(t.Context(), i, held, true); !joined || err != nil {
			t.Errorf("once it is stopped: %v, %v", joined, err)
		}
		h.Close()
		_ = h.Store.Close()
	})
}
