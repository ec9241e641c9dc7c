package instance

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/lock"
)

// hanging is a type of device whose sources may hang.
type hanging struct {
	*fakeModule
	answers func() error // to who asks before anything is held
	check   func() error // under the locks
	start   func()
}

func (m *hanging) Answers(context.Context, device.Instance, device.Config) error {
	if m.answers != nil {
		return m.answers()
	}
	return nil
}

func (m *hanging) Check(context.Context, device.Instance, string, device.Config) error {
	if m.check != nil {
		return m.check()
	}
	return nil
}

func (m *hanging) Start(ctx context.Context, in device.Instance, name string, cfg device.Config, v map[string]string) (device.Contribution, error) {
	if m.start != nil {
		m.start()
	}
	return m.fakeModule.Start(ctx, in, name, cfg, v)
}

// withHanging is a house with a running instance, in whose disks a test has a say.
func withHanging(t *testing.T) (*house, *hanging) {
	h := newHouse(t, nil)
	m := &hanging{fakeModule: h.Modules["disk"].(*fakeModule)}
	h.Modules["disk"] = m
	h.launch("c1", nil)
	return h, m
}

var share = map[string]map[string]string{"d1": {"type": "disk", "source": "/share", "path": "/mnt"}}

// TestADiskWhoseSourceHangsDoesNotHoldItsInstance, nor its profiles: what is asked before anything is held may take its time, and so may what is under
// the locks, as far as a forced stop and the host's shutdown go.
func TestADiskWhoseSourceHangsDoesNotHoldItsInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, m := withHanging(t)
		defer h.Close()
		hangs := make(chan struct{})
		m.answers = func() error { <-hangs; return api.Unavailable(`Source path "/share" does not answer`) }
		added := waiting(func() error { return h.patch("c1", nil, share) })
		if other := h.holder(h.stored("c1")); other != nil {
			t.Errorf("while it is asked the instance is held for %q", other.Action())
		}
		if profile, other := h.Locks.Try(lock.Claim{}, lock.Exclusive(lock.ForProfile("default", "default"))); other != nil {
			t.Errorf("while it is asked the profile is held for %q", other.Action())
		} else {
			profile.Release()
		}
		h.do(h.patch("c1", map[string]string{"user.x": "y"}, nil))
		close(hangs)
		if err := added(); !api.IsUnavailable(err) || h.stored("c1").Devices["d1"] != nil {
			t.Errorf("the disk is added: %v", err)
		}
		if err := h.action("c1", "restart"); !api.IsUnavailable(err) || h.show("c1").Status != "Running" {
			t.Errorf("a restart that cannot succeed: %v, and it is %s", err, h.show("c1").Status)
		}
	})
}

func TestAStopPassesByAChangeThatHangs(t *testing.T) {
	for name, stop := range map[string]func(h *house) error{
		"by force": func(h *house) error {
			return h.run(h.SetState(h.t.Context(), "default", "c1", api.InstanceStatePut{Action: "stop", Force: true}))
		},
		"as the host shuts down": func(h *house) error { h.StopAll(h.t.Context()); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, m := withHanging(t)
				defer h.Close()
				hangs := make(chan struct{})
				m.check = func() error { <-hangs; return nil }
				added := waiting(func() error { return h.patch("c1", nil, share) })
				began := time.Now()
				if err := stop(h); err != nil || h.show("c1").Status != "Stopped" || time.Since(began) > lock.Grace {
					t.Errorf("after %v: %v, it is %s", time.Since(began), err, h.show("c1").Status)
				}
				close(hangs)
				_ = added() // it may come out either way
				synctest.Wait()
				if h.runs.get(h.stored("c1").id()) != nil {
					t.Error("nobody has cleaned up after it")
				}
				h.nothingLeft()
			})
		})
	}
}

// TestAStopWaitsForWhatChangesTheRun, and a change does not begin with a run that is being ended.
func TestAStopWaitsForWhatChangesTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, m := withHanging(t)
		defer h.Close()
		goOn := make(chan struct{})
		m.start = func() { <-goOn }
		added := waiting(func() error { return h.patch("c1", nil, share) })
		stopped := waiting(func() error {
			return h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "stop", Force: true}))
		})
		time.Sleep(lock.Bound / 2)
		if h.show("c1").Status != "Running" {
			t.Error("it is stopped in the middle of a change")
		}
		close(goOn)
		h.do(added())
		h.do(stopped())
		h.nothingLeft()

		m.start = nil
		h.do(h.action("c1", "start"))
		r := h.runs.get(h.stored("c1").id())
		if !r.turn.end() {
			t.Fatal("a change that is over is in the way")
		}
		if err := h.patch("c1", nil, map[string]map[string]string{"d2": {"type": "disk", "source": "/other", "path": "/other"}}); err == nil || !strings.Contains(err.Error(), `"stop"`) {
			t.Errorf("a change of what is being ended: %v", err)
		}
		r.turn.goesOn()
	})
}
