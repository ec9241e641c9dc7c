package instance

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/spec"
)

func TestARestartFromInsideTakesTheCurrentConfiguration(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", func(r *api.InstancesPost) { r.Devices = map[string]map[string]string{"eth0": {"type": "nic"}} })
	h.do(h.action("c1", "start"))
	h.do(h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: map[string]string{"environment.A": "b", "security.nesting": "true"}},
		func(string) bool { return false }, anyRevision))
	var got *spec.Spec
	launch := func(s *spec.Spec) error { got = s; return nil }
	h.do(h.Reboot(t.Context(), "c1", launch))
	if got == nil || !got.Nesting || got.Environment["A"] != "b" || len(got.NICs) != len(h.rt.specs["c1"].NICs) {
		t.Errorf("it starts again with %+v", got)
	}
	if len(h.nic.up) != 1 {
		t.Errorf("devices on the host: %v", h.nic.up)
	}

	// A stop waits for its end: the runtime says so, and it must not wait for the stop.
	l, err := h.acquire(t.Context(), "default", "c1", "stop", lock.Short)
	h.do(err)
	got = nil
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- h.Reboot(ctx, "c1", launch) }()
	cancel()
	if err := <-ended; err == nil || got != nil {
		t.Errorf("it starts again in the middle of a stop: %v, %v", got, err)
	}
	l.Release()

	if err := h.Reboot(t.Context(), "c1", func(*spec.Spec) error { return errors.New("no") }); err == nil {
		t.Error("a launch that fails is no error")
	}
	h.rt.exit("c1") // as the runtime tells then
	h.do(h.waitStopped("c1"))
	h.nothingLeft()
}

// waitStopped waits until what goes on after an instance's end is over.
func (h *house) waitStopped(id string) error {
	if r := h.runs.get(id); r != nil {
		<-r.done
	}
	return nil
}

// TestARestartFromInsideWaitsForAChange: it would otherwise run with devices that are gone, or have been taken from it.
func TestARestartFromInsideWaitsForAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.create("c1", withNIC)
		h.do(h.action("c1", "start"))
		l, err := h.acquire(t.Context(), "default", "c1", "snapshot", lock.Short)
		h.do(err)
		got := make(chan *spec.Spec, 1)
		ended := make(chan error, 1)
		go func() { ended <- h.Reboot(t.Context(), "c1", func(s *spec.Spec) error { got <- s; return nil }) }()
		synctest.Wait()
		if len(got) > 0 {
			t.Error("it does not wait")
		}
		l.Release()
		h.do(<-ended)
		if s := <-got; s == nil || len(s.NICs) != 1 {
			t.Errorf("it runs with %+v", s)
		}
		h.do(h.action("c1", "stop"))
		h.nothingLeft()
	})
}

// TestAKillDuringARestartFromInsideLeavesNothing of a device that had been replaced, and so was in the other slot.
func TestAKillDuringARestartFromInsideLeavesNothing(t *testing.T) {
	for n := range 3 {
		h := newHouse(t, nil)
		h.create("c1", func(r *api.InstancesPost) {
			withNIC(r)
			r.Config = map[string]string{"boot.autostart": "false"}
		})
		h.do(h.action("c1", "start"))
		h.do(h.patch("c1", nil, map[string]map[string]string{"eth0": {"type": "nic", "net": "other"}}))
		h.engine.failAt(n, true)
		_ = h.Reboot(t.Context(), "c1", func(*spec.Spec) error { return nil })
		h.engine.failAt(-1, false)
		delete(h.rt.state, "c1")
		next := newHouse(t, h)
		next.boot()
		if i := next.show("c1"); i.Status != "Stopped" {
			t.Errorf("after %d commits it is %s", n, i.Status)
		}
		next.nothingLeft()
	}
}

// TestARestartFromInsideWhileNoDaemonRunsIsFinished, whatever its boot.* keys say, and unless a stop had begun.
func TestARestartFromInsideWhileNoDaemonRunsIsFinished(t *testing.T) {
	for stopping, want := range map[Stopping]string{"": "Running", stopClean: "Stopped"} {
		h := newHouse(t, nil)
		h.create("c1", func(r *api.InstancesPost) {
			withNIC(r)
			r.Config = map[string]string{"boot.autostart": "false"}
		})
		h.do(h.action("c1", "start"))
		h.recordStopping(t.Context(), h.stored("c1"), stopping)
		delete(h.rt.state, "c1")
		h.rt.restarts = []string{"c1"}
		next := newHouse(t, h)
		next.boot()
		if i := next.show("c1"); i.Status != want {
			t.Errorf("stopping %q: it is %s", stopping, i.Status)
		}
	}
}
