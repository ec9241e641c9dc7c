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
