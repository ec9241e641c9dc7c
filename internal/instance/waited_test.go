package instance

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

// The tests of this file have calls wait for somebody who has the instance: what they saw before is not so any more when their turn comes.

// others has the instances of these names until release.
func (h *house) others(names ...string) (release func()) {
	h.t.Helper()
	var wants []lock.Want
	for _, name := range names {
		wants = append(wants, lock.Exclusive(lock.ForInstance("default", name)))
	}
	held, err := h.Locks.Acquire(h.t.Context(), lock.Claim{Action: "snapshot", Brief: true}, wants...)
	h.do(err)
	return held.Release
}

// waiting begins a call, which is to wait for others, and returns what gives its result.
func waiting(call func() error) (result func() error) {
	done := make(chan error, 1)
	go func() { done <- call() }()
	synctest.Wait()
	return func() error { return <-done }
}

// TestTwoMovesToOnePool: the second finds the instance where it is to be, and leaves it there.
func TestTwoMovesToOnePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.create("c1", nil)
		h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s0"})))
		move := func() error {
			return h.run(h.Post(t.Context(), "default", "c1", api.InstancePost{Migration: true, Pool: "p2"}))
		}
		release := h.others("c1")
		first := waiting(move)
		second := waiting(move)
		renamed := waiting(func() error {
			return h.run(h.Post(t.Context(), "default", "c1", api.InstancePost{Migration: true, Pool: "p2", Name: "c2"}))
		})
		release()
		h.do(first())
		if err := second(); err == nil || err.Error() != `Instance is on storage pool "p2" already` {
			t.Errorf("the second move: %v", err)
		}
		h.do(renamed())
		row, err := h.get("default", "c2")
		h.do(err)
		for _, v := range h.volumesOf(row.Value) {
			if _, err := os.Stat(h.Volumes.Path(v)); err != nil || v.Pool != "p2" {
				t.Errorf("%+v: %v", v, err)
			}
		}
		h.nothingLeft()
	})
}

// TestAMoveHasItsNewNameFromTheBeginning: whoever wants it meanwhile does not get it, and what is wrong with it keeps the instance where
// it is.
func TestAMoveHasItsNewNameFromTheBeginning(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.create("other", nil)
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s0"})))
	move := func(to string) error {
		return h.run(h.Post(t.Context(), "default", "c1", api.InstancePost{Migration: true, Pool: "p2", Name: to}))
	}
	tried := 0
	h.volumes.copying = func(storage.VolumeID) error {
		tried++
		for what, err := range map[string]error{
			"a new instance": h.run(h.Create(t.Context(), "default", api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "none"}})),
			"a rename":       h.run(h.Post(t.Context(), "default", "other", api.InstancePost{Name: "c2"})),
		} {
			if api.StatusOf(err) != 400 || !strings.Contains(err.Error(), `busy running a "move" operation`) {
				t.Errorf("%s gets the name: %v", what, err)
			}
		}
		return nil
	}
	h.do(move("c2"))
	row, err := h.get("default", "c2")
	h.do(err)
	if row.Value.Pool != "p2" || tried == 0 {
		t.Errorf("it is on %q, after %d copies", row.Value.Pool, tried)
	}
	h.volumes.copying = nil

	// The name is taken between the request and its turn.
	h.create("c1", nil)
	task, err := h.Post(t.Context(), "default", "c1", api.InstancePost{Migration: true, Pool: "p2", Name: "c3"})
	h.do(err)
	h.create("c3", nil)
	if err := h.run(task, nil); !api.IsConflict(err) {
		t.Errorf("moved to a name that is taken: %v", err)
	}
	row, err = h.get("default", "c1")
	h.do(err)
	if row.Value.Pool != "p1" {
		t.Errorf("and went to %q", row.Value.Pool)
	}
	h.nothingLeft()
}

// TestAnEndIsCleanedUpAfterFirst: an instance ends by itself while others have it. Whoever had been waiting by then finds it
// cleaned up, and what they do is not undone by the clean-up.
func TestAnEndIsCleanedUpAfterFirst(t *testing.T) {
	for name, c := range map[string]struct {
		call func(h *house) error
		left string // the instance's name afterwards
		runs bool
	}{
		"start":  {func(h *house) error { return h.action("c1", "start") }, "c1", true},
		"rename": {func(h *house) error { return h.rename(h.t.Context(), "default", "c1", "c2") }, "c2", false},
		"move":   {func(h *house) error { return h.move(h.t.Context(), "default", "c1", "c1", "p2") }, "c1", false},
		"delete": {func(h *house) error { return h.delete(h.t.Context(), "default", "c1") }, "", false},
		"restore": {func(h *house) error {
			return h.restore(h.t.Context(), "default", "c1", "s0", anyRevision)
		}, "c1", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, nil)
				h.create("c1", withNIC)
				h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s0"})))
				h.do(h.action("c1", "start"))
				ended := h.runs.get("c1")
				release := h.others("c1")
				result := waiting(func() error { return c.call(h) })
				h.rt.exit("c1")
				synctest.Wait()
				release()
				h.do(result())
				<-ended.done
				synctest.Wait() // for the end to have had its turn too
				if h.rt.Status("c1") == api.Running != c.runs || len(h.rt.kills) > 0 {
					t.Errorf("it runs: %v; killed: %v", !c.runs, h.rt.kills)
				}
				if c.left != "" {
					want := map[bool]string{true: powerRunning, false: powerStopped}[c.runs]
					if got := h.show(c.left).Config["volatile.last_state.power"]; got != want {
						t.Errorf("the record says %q", got)
					}
				}
				if c.runs {
					h.do(h.action("c1", "stop"))
				}
				h.nothingLeft()
				if got := slices.Index(h.events.take(), "instance-shutdown /1.0/instances/c1"); got < 0 {
					t.Error("nobody was told of its end")
				}
			})
		})
	}
}

// TestAnEphemeralOneIsGoneForThoseWhoWaited: what has ended by itself meanwhile is removed, not started again.
func TestAnEphemeralOneIsGoneForThoseWhoWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.create("c1", func(r *api.InstancesPost) { r.Ephemeral = true })
		h.do(h.action("c1", "start"))
		release := h.others("c1")
		start := waiting(func() error { return h.action("c1", "start") })
		h.rt.exit("c1")
		synctest.Wait()
		release()
		if err := start(); !api.IsNotFound(err) {
			t.Errorf("the start: %v", err)
		}
		if h.Exists("default", "c1") {
			t.Error("it is still there")
		}
		h.nothingLeft()
	})
}

// TestAProfileHoldsItsUsersByTheirNewNames: one of them is renamed while a change of their profile waits for it.
func TestAProfileHoldsItsUsersByTheirNewNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.create("c1", nil)
		h.create("c3", nil)
		release := h.others("c1")
		renamed := waiting(func() error { return h.rename(t.Context(), "default", "c1", "c2") })
		changed := waiting(func() error {
			put := api.ProfilePut{Config: map[string]string{"limits.cpu": "1"}, Devices: map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "p1"}}}
			return h.profiles.Put(t.Context(), "default", "default", put, anyRevision)
		})
		h.engine.refuse = func(ops []store.Op) error {
			for _, op := range ops {
				if op.Key != "/profiles/default/default" {
					continue
				}
				for _, i := range h.rows("default") {
					if h.holder(i) == nil {
						t.Errorf("the profile changes under %s", i.Name)
					}
				}
			}
			return nil
		}
		release()
		h.do(errors.Join(renamed(), changed()))
		if got := h.show("c2").ExpandedConfig["limits.cpu"]; got != "1" {
			t.Errorf("c2 has limits.cpu=%q", got)
		}
	})
}

// TestARestoreHoldsWhatItBrings: what a snapshot names, and its instance no longer, does not go while it comes back.
func TestARestoreHoldsWhatItBrings(t *testing.T) {
	h := newHouse(t, nil)
	h.profile("extra", nil, nil)
	h.create("c1", func(r *api.InstancesPost) {
		r.Profiles = []string{"default", "extra"}
		r.Devices = map[string]map[string]string{"eth0": {"type": "nic", "network": "br1"}}
	})
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s0"})))
	h.do(h.run(h.Put(t.Context(), "default", "c1", api.InstancePut{Profiles: []string{"default"}, Config: h.show("c1").Config}, anyRevision)))
	tried := false
	h.volumes.copying = func(storage.VolumeID) error {
		tried = true
		for _, o := range []lock.Object{lock.ForProfile("default", "extra"), lock.ForNetwork("default", "br1"), lock.ForPool("p1")} {
			if held, _ := h.Locks.Try(lock.Claim{Action: "delete"}, lock.Exclusive(o)); held != nil {
				t.Errorf("%s %q may be deleted meanwhile", o.Kind, o.Name())
				held.Release()
			}
		}
		return nil
	}
	h.do(h.restore(t.Context(), "default", "c1", "s0", anyRevision))
	if got := h.show("c1").Profiles; !tried || !slices.Equal(got, []string{"default", "extra"}) {
		t.Errorf("its profiles are %v", got)
	}
	for _, o := range []lock.Object{lock.ForProfile("default", "extra"), lock.ForNetwork("default", "br1")} {
		if held, _ := h.Locks.Try(lock.Claim{Action: "delete"}, lock.Exclusive(o)); held == nil {
			t.Errorf("%s %q stays held", o.Kind, o.Name())
		}
	}
	if _, err := os.Stat(filepath.Join(h.root, "storage-pools", "p1", "containers", "c1")); err != nil {
		t.Error(err)
	}
}
