package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

// What is left of a change is settled late: when others may have its names, and when its instance has been used for something else.

// snapshotNames lists the snapshots that the store has of an instance.
func (h *house) snapshotNames(project, name string) (names []string) {
	for _, row := range h.snapshots.List(project, name) {
		names = append(names, row.Path[2])
	}
	return names
}

func (h *house) takeSnapshots(project, name string, snapshots ...string) {
	h.t.Helper()
	for _, s := range snapshots {
		h.do(h.run(h.CreateSnapshot(h.t.Context(), project, name, api.InstanceSnapshotsPost{Name: s})))
	}
}

// onP2 makes an empty instance on the pool p2.
func (h *house) onP2(project, name string) error {
	req := api.InstancesPost{Name: name, Source: api.InstanceSource{Type: "none"}}
	req.Devices = map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "p2"}}
	return h.run(h.Create(h.t.Context(), project, req))
}

// cutOffRename is a daemon that was killed when the volume of c1 had got the name c2, and has started while the pool is away.
func cutOffRename(t *testing.T, project string, also func(h *house, old, next *Instance)) *house {
	h := newHouse(t, nil)
	h.do(h.projects.Create(t.Context(), api.ProjectsPost{Name: "other", ProjectPut: api.ProjectPut{Config: map[string]string{"features.profiles": "false"}}}))
	h.create("c1", nil)
	h.takeSnapshots("default", "c1", "mine", "s0")
	old := h.stored("c1")
	c := changeOf(old)
	c.NewProject, c.NewName = project, "c2"
	_, err := h.Journal.Begin(t.Context(), kindRename, c)
	h.do(err)
	next := inNewPlace(old, c)
	h.do(h.volumes.Rename(t.Context(), old.volume(), next.volume()))
	if also != nil {
		also(h, old, next)
	}
	return h.restart()
}

// TestALateUndoOfARenameLeavesTheNewOwnerItsSnapshots, whether it was a rename or a move between projects.
func TestALateUndoOfARenameLeavesTheNewOwnerItsSnapshots(t *testing.T) {
	for _, project := range []string{"default", "other"} {
		h := cutOffRename(t, project, nil)
		h.do(h.onP2(project, "c2"))
		h.takeSnapshots(project, "c2", "s0", "s1")
		theirs, _ := h.snapshots.Get(project, "c2", "s0")
		h.volumes.away.Store(false)

		held, err := h.Locks.Acquire(t.Context(), lock.Claim{Action: "copy"}, lock.Exclusive(lock.ForInstance(project, "c2")))
		h.do(err)
		if err := h.action("c1", "start"); !api.IsUnavailable(err) {
			t.Errorf("%s: settled while somebody is at the other name: %v", project, err)
		}
		held.Release()
		h.do(h.action("c1", "start"))
		if got := h.snapshotNames(project, "c2"); !slices.Equal(got, []string{"s0", "s1"}) {
			t.Errorf("%s: the new owner of the name has the snapshots %q", project, got)
		}
		if now, ok := h.snapshots.Get(project, "c2", "s0"); !ok || now.Revision != theirs.Revision {
			t.Errorf("%s: its s0 is another one", project)
		}
		if got := h.snapshotNames("default", "c1"); !slices.Equal(got, []string{"mine", "s0"}) {
			t.Errorf("%s: it has the snapshots %q", project, got)
		}
		if own, ok := h.snapshots.Get("default", "c1", "s0"); !ok || own.Value.CreatedAt.Equal(theirs.Value.CreatedAt) {
			t.Errorf("%s: its own s0 is the other's", project)
		}
		h.do(h.action("c1", "stop"))
		h.nothingLeft()
	}
}

// TestANameIsNotFreeWhileItHasSnapshots: a rename had brought some of them there, and they are to go back.
func TestANameIsNotFreeWhileItHasSnapshots(t *testing.T) {
	h := cutOffRename(t, "default", func(h *house, old, next *Instance) {
		_, err := h.Store.CommitAll(t.Context(), h.moveSnapshots(old, next)[:4])
		h.do(err)
	})
	h.create("c3", nil)
	for way, err := range map[string]error{
		"creation": h.onP2("default", "c2"),
		"rename":   h.run(h.Post(t.Context(), "default", "c3", api.InstancePost{Name: "c2"})),
	} {
		if !api.IsUnavailable(err) {
			t.Errorf("%s: %v", way, err)
		}
	}
	h.volumes.away.Store(false)
	h.do(h.action("c1", "start"))
	if got := h.snapshotNames("default", "c1"); !slices.Equal(got, []string{"mine", "s0"}) {
		t.Errorf("it has the snapshots %q", got)
	}
	h.do(h.onP2("default", "c2"))
}

// TestAnExpiredSnapshotOfAnUnsettledInstanceWaits: its content may be elsewhere, and would come back without it.
func TestAnExpiredSnapshotOfAnUnsettledInstanceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := cutOffRename(t, "default", func(h *house, _, _ *Instance) {
			row, _ := h.snapshots.Get("default", "c1", "s0")
			next := *row.Value
			next.ExpiresAt = time.Now().Add(time.Second)
			_, err := h.Store.Commit(t.Context(), h.snapshots.Replace(row, &next))
			h.do(err)
		})
		defer h.Close()
		time.Sleep(time.Second)
		h.volumes.away.Store(false) // and nobody has settled it yet
		h.PruneSnapshots()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := h.snapshotNames("default", "c1"); !slices.Equal(got, []string{"mine", "s0"}) {
			t.Errorf("before it is settled: %q", got)
		}
		h.do(h.action("c1", "start"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := h.snapshotNames("default", "c1"); !slices.Equal(got, []string{"mine"}) || h.exists(h.volumes.Path(h.stored("c1").snapshotVolume("s0"))) {
			t.Errorf("afterwards: %q", got)
		}
		h.do(h.action("c1", "stop"))
		h.nothingLeft()
	})
}

// TestOfTwoClientsWithOneETagOneRestores: the other's change is not thrown away.
func TestOfTwoClientsWithOneETagOneRestores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		defer h.Close()
		h.create("c1", nil)
		h.takeSnapshots("default", "c1", "s")
		_, seen, err := h.Get(t.Context(), "default", "c1")
		h.do(err)
		match := func(now store.Revision) error {
			if now != seen {
				return api.PreconditionFailed("ETag doesn't match")
			}
			return nil
		}
		restore, err := h.Put(t.Context(), "default", "c1", api.InstancePut{Restore: "s"}, match)
		h.do(err)
		h.do(h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: map[string]string{"user.v": "1"}}, func(string) bool { return false }, match))
		if err := h.run(restore, nil); api.StatusOf(err) != 412 || h.stored("c1").Config["user.v"] != "1" {
			t.Errorf("the restore: %v; configured as %v", err, h.stored("c1").Config)
		}
	})
}

// TestAProfileHoldsWhatItsUsersOfOtherProjectsGetByIt: a volume of a project of its own is another one of that name.
func TestAProfileHoldsWhatItsUsersOfOtherProjectsGetByIt(t *testing.T) {
	h := newHouse(t, nil)
	h.do(h.projects.Create(t.Context(), api.ProjectsPost{Name: "other", ProjectPut: api.ProjectPut{Config: map[string]string{"features.profiles": "false"}}}))
	h.profile("shared", nil, nil)
	req := api.InstancesPost{Name: "c1", Source: api.InstanceSource{Type: "none"}}
	req.Profiles = []string{"default", "shared"}
	h.do(h.run(h.Create(t.Context(), "other", req)))
	theirs := storage.VolumeID{Pool: "p1", Project: "other", Type: storage.VolumeCustom, Name: "ev"}
	root := h.Modules["disk"].(*fakeModule)
	kept := false // when the device was last looked at: that is once all that the change concerns is held
	h.Modules["disk"] = lookedAt{root, func(cfg device.Config) {
		if cfg["source"] != "ev" {
			return
		}
		held, other := h.Locks.Try(lock.Claim{Action: "delete"}, lock.Exclusive(theirs.Object()))
		if kept = other != nil; !kept {
			held.Release()
		}
	}}
	h.do(h.putProfile("shared", nil, map[string]map[string]string{"d": {"type": "disk", "pool": "p1", "source": "ev", "path": "/mnt"}}))
	if !kept {
		t.Error("the volume that c1 gets can be deleted meanwhile")
	}
	held, other := h.Locks.Try(lock.Claim{Action: "delete"}, lock.Exclusive(theirs.Object()))
	if other != nil {
		t.Fatalf("afterwards it is held for %q", other.Action())
	}
	held.Release()
}

// lookedAt tells of each configuration that is validated.
type lookedAt struct {
	*fakeModule
	look func(device.Config)
}

func (m lookedAt) Validate(ctx context.Context, in device.Instance, name string, cfg device.Config) error {
	m.look(cfg)
	return m.fakeModule.Validate(ctx, in, name, cfg)
}

// TestAMoveWhoseOldPoolIsAwayKeepsNothingBack: what it has left there is nobody's. The same daemon and the next one see to it once the pool is back.
func TestAMoveWhoseOldPoolIsAwayKeepsNothingBack(t *testing.T) {
	for _, killed := range []bool{false, true} {
		h := newHouse(t, nil)
		h.create("c1", nil)
		h.takeSnapshots("default", "c1", "s0")
		h.engine.refuse = func(ops []store.Op) error {
			for _, op := range ops {
				if strings.HasPrefix(op.Key, "/instances/") && strings.Contains(string(op.Value), `"pool":"p2"`) {
					h.volumes.without.Store("p1") // it goes when the move has been committed
				}
			}
			return nil
		}
		h.do(h.run(h.Post(t.Context(), "default", "c1", api.InstancePost{Name: "c1", Pool: "p2", Migration: true})))
		if n := h.Journal.Pending(); n != 1 || h.stored("c1").Pool != "p2" {
			t.Fatalf("the situation is another: on %s, %d entries", h.stored("c1").Pool, n)
		}
		if killed {
			h.engine.refuse = nil
			h = newHouse(t, h)
			h.volumes.without.Store("p1")
			h.boot()
		}
		ctx := t.Context()
		for _, one := range []struct {
			name string
			do   func() error
		}{
			{"start", func() error { return h.action("c1", "start") }},
			{"pause", func() error { return h.action("c1", "freeze") }},
			{"resume", func() error { return h.action("c1", "unfreeze") }},
			{"update", func() error { return h.patch("c1", map[string]string{"user.a": "b"}, nil) }},
			{"snapshot", func() error {
				return h.run(h.CreateSnapshot(ctx, "default", "c1", api.InstanceSnapshotsPost{Name: "s1"}))
			}},
			{"restore", func() error { return h.run(h.Restore(ctx, "default", "c1", "s1", anyRevision)) }},
			{"stop", func() error { return h.action("c1", "stop") }},
			{"files", func() error { _, err := h.FilesRoot(ctx, "default", "c1"); return err }},
			{"copy", func() error {
				return h.run(h.Create(ctx, "default", api.InstancesPost{Name: "c3", Source: api.InstanceSource{Type: "copy", Source: "c1"}}))
			}},
			{"rename", func() error { return h.run(h.Post(ctx, "default", "c1", api.InstancePost{Name: "c2"})) }},
			{"rename back", func() error { return h.run(h.Post(ctx, "default", "c2", api.InstancePost{Name: "c1"})) }},
		} {
			if err := one.do(); err != nil {
				t.Errorf("%s: %v", one.name, err)
			}
		}
		h.volumes.without.Store("")
		h.do(h.run(h.Post(ctx, "default", "c1", api.InstancePost{Name: "c1", Pool: "p1", Migration: true}))) // into what was left
		if n := h.Journal.Pending(); n != 0 || h.volumesOn("p1") != "c1" {
			t.Errorf("moved back: %d entries, on p1: %q", n, h.volumesOn("p1"))
		}
		if got := h.snapshotNames("default", "c1"); !slices.Equal(got, []string{"s0", "s1"}) {
			t.Errorf("it has the snapshots %q", got)
		}
	}
}

// volumesOn lists the volumes of a pool.
func (h *house) volumesOn(pool string) string {
	entries, err := os.ReadDir(filepath.Join(h.root, "storage-pools", pool, "containers"))
	h.do(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// TestWhatIsLeftOfAMoveIsRemovedAloneLater: not what another instance, or the same one, has in its place by then.
func TestWhatIsLeftOfAMoveIsRemovedAloneLater(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.takeSnapshots("default", "c1", "s0")
	here := h.stored("c1")
	there := here.clone()
	there.Pool = "p2"
	for _, v := range h.volumesOf(there) { // as a move to p2 leaves them that has failed
		h.do(h.volumes.CreateEmpty(t.Context(), v))
	}
	_, failed := moveEntry(here, "p2", h.volumesOf(there))
	_, done := moveEntry(there, "p1", h.volumesOf(here))
	done = movedEntry(done, h.volumesOf(here)) // as one from p1 is remembered that has been followed by one back
	for _, c := range []change{failed, done} {
		h.do(h.recoverMoveRest(t.Context(), c))
	}
	for _, v := range h.volumesOf(here) {
		if !h.exists(h.volumes.Path(v)) {
			t.Errorf("%s %s is gone", v.Name, v.Snapshot)
		}
	}
	for _, v := range h.volumesOf(there) {
		if h.exists(h.volumes.Path(v)) {
			t.Errorf("on p2 %s %s is left", v.Name, v.Snapshot)
		}
	}
	many := make([]storage.VolumeID, maxNamed+1)
	if kind, c := moveEntry(here, "p2", many); kind != kindMove || c.Volumes != nil || movedEntry(c, many).Volumes != nil {
		t.Errorf("too many for one entry: %s, %d", kind, len(c.Volumes))
	}
}

// TestADeleteRefusedForItsPoolDeletesNothingLater: whoever asked for it was told that it failed.
func TestADeleteRefusedForItsPoolDeletesNothingLater(t *testing.T) {
	for name, fail := range map[string]func(h *house){
		"the pool is away": func(h *house) { h.volumes.away.Store(true) },
		"the pool refuses": func(h *house) { h.volumes.deleting = func(storage.VolumeID) error { return errors.New("no") } },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			h.create("c1", nil)
			h.write("c1", "work")
			h.takeSnapshots("default", "c1", "s0")
			fail(h)
			if err := h.run(h.Delete(t.Context(), "default", "c1")); err == nil {
				t.Error("deleted")
			}
			if err := h.run(h.DeleteSnapshot(t.Context(), "default", "c1", "s0")); err == nil {
				t.Error("the snapshot is deleted")
			}
			if n := h.Journal.Pending(); n != 0 {
				t.Errorf("%d entries are left", n)
			}
			h.volumes.away.Store(false)
			h.volumes.deleting = nil
			next := newHouse(t, h)
			next.boot()
			h.do(next.action("c1", "start"))
			if got := next.content("c1"); got != "work" || !slices.Equal(next.snapshotNames("default", "c1"), []string{"s0"}) {
				t.Errorf("it holds %q and has the snapshots %q", got, next.snapshotNames("default", "c1"))
			}
			h.do(next.action("c1", "stop"))
			h.do(next.run(next.Delete(t.Context(), "default", "c1")))
			next.nothingLeft()
		})
	}
}

// TestADeleteWhosePoolGoesMeanwhileIsFinished: with the volume gone there is no way back.
func TestADeleteWhosePoolGoesMeanwhileIsFinished(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.takeSnapshots("default", "c1", "s0")
	h.volumes.deleting = func(v storage.VolumeID) error {
		if v.Snapshot != "" {
			return api.Unavailable("Storage pool unavailable")
		}
		return nil
	}
	if err := h.run(h.Delete(t.Context(), "default", "c1")); !api.IsUnavailable(err) {
		t.Errorf("the deletion: %v", err)
	}
	h.volumes.deleting = nil
	if err := h.action("c1", "start"); !api.IsNotFound(err) {
		t.Errorf("a start afterwards: %v", err)
	}
	h.onlyVolumes()
	h.nothingLeft()
}

// TestAnEphemeralInstanceGoesOnceItsPoolIsBack: nobody is told that its deletion failed.
func TestAnEphemeralInstanceGoesOnceItsPoolIsBack(t *testing.T) {
	h := ephemeral(t)
	h.volumes.away.Store(true)
	_ = h.action("eph", "stop")
	if err := h.action("eph", "start"); !api.IsUnavailable(err) {
		t.Errorf("a start while the pool is away: %v", err)
	}
	h.volumes.away.Store(false)
	if err := h.action("eph", "start"); !api.IsNotFound(err) {
		t.Errorf("a start afterwards: %v", err)
	}
	h.onlyVolumes()
	h.nothingLeft()
}

// TestAutostartThatWaitsForAPoolForgetsWhatWasStoppedSince, what has been started since, and what has the name of an instance that is gone.
func TestAutostartThatWaitsForAPoolForgetsWhatWasStoppedSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := newHouse(t, nil)
		names := []string{"waits", "unset", "refused", "auto", "by-hand", "gone", "paused"}
		for _, name := range names {
			before.create(name, func(r *api.InstancesPost) {
				if name == "unset" || name == "auto" {
					r.Config = map[string]string{"boot.autostart": "true"}
				}
			})
			before.do(before.action(name, "start"))
		}
		before.Close()
		for _, name := range names { // the host has been started again
			delete(before.rt.state, name)
		}
		h := newHouse(t, before)
		h.volumes.away.Store(true)
		h.runs.revive(h.stored("paused").UUID, true)
		h.boot()
		h.do(h.patch("unset", map[string]string{"boot.autostart": "false"}, nil))
		for _, name := range []string{"refused", "auto"} {
			if err := h.action(name, "stop"); err == nil || err.Error() != "The instance is already stopped" {
				t.Errorf("stop of %s: %v", name, err)
			}
		}
		if power := h.stored("refused").Config["volatile.last_state.power"]; power != powerStopped {
			t.Errorf("it is recorded as %s", power)
		}
		h.volumes.away.Store(false)
		h.do(h.action("by-hand", "start"))
		h.do(h.action("by-hand", "stop"))
		h.do(h.action("paused", "start"))
		h.do(h.run(h.Delete(t.Context(), "default", "gone")))
		h.create("gone", func(r *api.InstancesPost) { r.Config = map[string]string{"boot.autostart": "true"} })
		time.Sleep(3 * retryPause)
		synctest.Wait()
		for name, want := range map[string]string{"waits": "Running", "unset": "Stopped", "refused": "Stopped", "auto": "Stopped", "by-hand": "Stopped",
			"gone": "Stopped", "paused": "Running"} {
			if i := h.show(name); i.Status != want {
				t.Errorf("%s is %s", name, i.Status)
			}
		}
		h.Close()
		_ = h.Store.Close()
	})
}

// TestWhatIsLeftOfARestoreStartsNothing that has been stopped since, whatever is left: the old content of a restore that went well, the way back of one
// that failed. The same daemon sees to it later, or the next one.
func TestWhatIsLeftOfARestoreStartsNothing(t *testing.T) {
	for name, cutOff := range map[string]func(t *testing.T) *house{
		"the old content": func(t *testing.T) *house {
			h := restorable(t)
			h.volumes.deleting = func(storage.VolumeID) error { return errors.New("no") }
			h.do(h.restoreS())
			h.volumes.deleting = nil
			return h
		},
		"the way back": func(t *testing.T) *house {
			h := cutOffRestore(t)
			h.engine.refuse = nil
			return h
		},
	} {
		for _, next := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, next %v", name, next), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := cutOff(t)
					<-h.Autostart()
					h.do(h.modify(t.Context(), "default", "c1", func(i *Instance) error {
						i.Config["boot.autostart"] = "false"
						return nil
					}))
					if err := h.action("c1", "stop"); err != nil && err.Error() != "The instance is already stopped" {
						t.Error(err)
					}
					if n := h.Journal.Pending(); n != 1 {
						t.Fatalf("%d entries", n)
					}
					seen := h.revision("c1")
					h.volumes.away.Store(false)
					if next {
						h.Close()
						h = newHouse(t, h)
						h.boot()
					} else {
						h.settle(t.Context(), "default", "c1", "update")
					}
					time.Sleep(3 * retryPause)
					synctest.Wait()
					if i := h.show("c1"); i.Status != "Stopped" || h.Journal.Pending() != 0 || h.revision("c1") != seen {
						t.Errorf("it is %s; %d entries; changed: %v", i.Status, h.Journal.Pending(), h.revision("c1") != seen)
					}
					h.onlyVolumes("c1")
					h.Close()
					_ = h.Store.Close()
				})
			})
		}
	}
}

func (h *house) revision(name string) store.Revision {
	h.t.Helper()
	row, err := h.get("default", name)
	h.do(err)
	return row.Revision
}

// TestARestoreWithoutItsPoolLeavesNothing: nothing has been made, and the instance goes on running.
func TestARestoreWithoutItsPoolLeavesNothing(t *testing.T) {
	h := restorable(t)
	h.volumes.copying = func(storage.VolumeID) error { return api.Unavailable("Storage pool unavailable") }
	h.volumes.away.Store(true)
	if err := h.restoreS(); !api.IsUnavailable(err) {
		t.Errorf("the restore: %v", err)
	}
	if n := h.Journal.Pending(); n != 0 {
		t.Errorf("%d entries are left", n)
	}
	h.do(h.patch("c1", map[string]string{"user.a": "b"}, nil))
	if i := h.show("c1"); i.Status != "Running" {
		t.Errorf("it is %s", i.Status)
	}
}
