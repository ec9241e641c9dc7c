package instance

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

var errKilled = errors.New("the daemon has ended")

// restart is the next daemon, which cannot reach the pools.
func (h *house) restart() *house {
	h.t.Helper()
	h.engine.refuse = nil
	next := newHouse(h.t, h)
	next.volumes.away.Store(true)
	next.boot()
	return next
}

// cutOffRestore ends the daemon when the contents of c1 have changed places, and its record has not followed.
func cutOffRestore(t *testing.T) *house {
	h := restorable(t)
	dead := false
	h.engine.refuse = func(ops []store.Op) error {
		for _, op := range ops {
			dead = dead || strings.HasPrefix(op.Key, "/journal/") && strings.Contains(string(op.Value), `"kept":true`)
		}
		if dead {
			return errKilled
		}
		return nil
	}
	// Nothing of the way back is to happen: the exchange back needs the pool.
	h.volumes.exchanged = func() { h.volumes.away.Store(true) }
	if err := h.restoreS(); err == nil {
		t.Fatal("it went well")
	}
	h.volumes.exchanged = nil
	if got := h.content("c1"); got != "old" || h.Journal.Pending() != 1 {
		t.Fatalf("the situation is another: it holds %q, %d entries", got, h.Journal.Pending())
	}
	return h
}

// TestAnUnfinishedRestoreIsSettledBeforeAStart: what the guest writes once it runs is never taken from it, as it runs on what stays.
func TestAnUnfinishedRestoreIsSettledBeforeAStart(t *testing.T) {
	for name, start := range map[string]func(h *house){
		"by hand": func(h *house) { h.do(h.action("c1", "start")) },
		"by itself": func(h *house) {
			time.Sleep(time.Minute)
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := cutOffRestore(t).restart()
				for _, action := range []string{"start", "freeze"} {
					if err := h.action("c1", action); err == nil || action == "start" && !api.IsUnavailable(err) {
						t.Errorf("%s while the pool is away: %v", action, err)
					}
				}
				h.volumes.away.Store(false)
				start(h)
				if i := h.show("c1"); i.Status != "Running" || h.content("c1") != "new" || i.Config["user.when"] != "now" {
					t.Errorf("it is %s, holds %q, and is configured as %v", i.Status, h.content("c1"), i.Config)
				}
				h.write("c1", "work")
				last := newHouse(t, h)
				last.boot()
				if got := last.content("c1"); got != "work" || last.show("c1").Status != "Running" {
					t.Errorf("after the next start of the daemon it is %s and holds %q", last.show("c1").Status, got)
				}
				last.onlyVolumes("c1")
				if n := last.Journal.Pending(); n != 0 {
					t.Errorf("%d entries are left", n)
				}
				h.Close()
				last.Close()
				_ = h.Store.Close()
				_ = last.Store.Close()
			})
		})
	}
}

// TestAnUnfinishedRestoreKeepsChangesBack, one and all, and reads of what may be exchanged; a stop goes on.
func TestAnUnfinishedRestoreKeepsChangesBack(t *testing.T) {
	h := cutOffRestore(t).restart()
	ctx := t.Context()
	for name, do := range map[string]func() error{
		"start":  func() error { return h.action("c1", "start") },
		"delete": func() error { return h.run(h.Delete(ctx, "default", "c1")) },
		"rename": func() error { return h.run(h.Post(ctx, "default", "c1", api.InstancePost{Name: "c2"})) },
		"move": func() error {
			return h.run(h.Post(ctx, "default", "c1", api.InstancePost{Name: "c1", Pool: "p2", Migration: true}))
		},
		"update": func() error { return h.patch("c1", map[string]string{"user.x": "y"}, nil) },
		"snapshot": func() error {
			return h.run(h.CreateSnapshot(ctx, "default", "c1", api.InstanceSnapshotsPost{Name: "s2"}))
		},
		"delete snapshot": func() error { return h.run(h.DeleteSnapshot(ctx, "default", "c1", "s")) },
		"restore":         h.restoreS,
		"publish":         func() error { _, err := h.Content(ctx, "default", "c1"); return err },
		"files":           func() error { _, err := h.FilesRoot(ctx, "default", "c1"); return err },
		"copy": func() error {
			return h.run(h.Create(ctx, "default", api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1"}}))
		},
	} {
		if err := do(); !api.IsUnavailable(err) || !strings.Contains(err.Error(), kindRestore) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if i := h.stored("c1"); i.Config["user.x"] != "" {
		t.Errorf("it is configured as %v", i.Config)
	}
	h.create("c3", nil) // which is another one
	h.volumes.away.Store(false)
	h.do(h.patch("c1", map[string]string{"user.x": "y"}, nil))
	if got := h.content("c1"); got != "new" {
		t.Errorf("after a change that settles it first it holds %q", got)
	}
	h.onlyVolumes("c1", "c3")
}

// TestNothingIsExchangedUnderARunningInstance, whatever an earlier daemon has started on the content that an entry would take away.
func TestNothingIsExchangedUnderARunningInstance(t *testing.T) {
	before := cutOffRestore(t)
	before.engine.refuse = nil
	before.do(before.rt.set("c1", api.Running))
	before.write("c1", "work")
	h := newHouse(t, before)
	h.boot()
	if got := h.content("c1"); got != "work" || h.Journal.Pending() != 1 {
		t.Errorf("it holds %q, %d entries", got, h.Journal.Pending())
	}
	for _, action := range []string{"restart", "freeze"} {
		if err := h.action("c1", action); !api.IsUnavailable(err) {
			t.Errorf("%s: %v", action, err)
		}
	}
	h.do(h.action("c1", "stop"))
}

// TestDeleteCutOffThenStartedIsNotFinished: somebody wanted it.
func TestDeleteCutOffThenStartedIsNotFinished(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.write("c1", "work")
	_, err := h.Journal.Begin(t.Context(), kindDelete, changeOf(h.stored("c1")))
	h.do(err)
	h.do(h.rt.set("c1", api.Running)) // as an earlier daemon let it be started
	next := newHouse(t, h)
	next.boot()
	if i := next.show("c1"); i.Status != "Running" || next.content("c1") != "work" || next.Journal.Pending() != 0 {
		t.Errorf("it is %s and holds %q; %d entries", i.Status, next.content("c1"), next.Journal.Pending())
	}
	h.do(next.action("c1", "stop"))
	last := newHouse(t, next)
	last.boot()
	if got := last.content("c1"); got != "work" {
		t.Errorf("after its stop it holds %q", got)
	}
}

// TestAnUnfinishedDeleteIsFinishedBeforeAStart, or else asked for once more.
func TestAnUnfinishedDeleteIsFinishedBeforeAStart(t *testing.T) {
	for _, again := range []string{"start", "delete"} {
		h := newHouse(t, nil)
		h.create("c1", nil)
		_, err := h.Journal.Begin(t.Context(), kindDelete, changeOf(h.stored("c1")))
		h.do(err)
		next := h.restart()
		if err := next.action("c1", "start"); !api.IsUnavailable(err) {
			t.Errorf("a start while the pool is away: %v", err)
		}
		if err := next.run(next.Delete(t.Context(), "default", "c1")); err == nil {
			t.Error("a deletion while the pool is away")
		}
		if again == "start" { // what failed again has gone with the attempt that stood for both
			_, err := next.Journal.Begin(t.Context(), kindDelete, changeOf(next.stored("c1")))
			h.do(err)
			next = next.restart()
		}
		next.volumes.away.Store(false)
		if again == "start" {
			if err := next.action("c1", "start"); !api.IsNotFound(err) {
				t.Errorf("a start afterwards: %v", err)
			}
		} else {
			h.do(next.run(next.Delete(t.Context(), "default", "c1")))
		}
		if _, err := os.Stat(h.volumes.Path(storage.VolumeID{Pool: "p1", Name: "c1"})); !os.IsNotExist(err) {
			t.Errorf("%s: its content: %v", again, err)
		}
		next.nothingLeft()
	}
}

// TestARenameIsTakenBackBeforeAStart: the volume is found under the name of its instance.
func TestARenameIsTakenBackBeforeAStart(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.write("c1", "work")
	old := h.stored("c1")
	c := changeOf(old)
	c.NewName = "c2"
	_, err := h.Journal.Begin(t.Context(), kindRename, c)
	h.do(err)
	moved := old.clone()
	moved.Name = "c2"
	h.do(h.volumes.Rename(t.Context(), old.volume(), moved.volume()))
	next := h.restart()
	if err := next.action("c1", "start"); !api.IsUnavailable(err) {
		t.Errorf("a start while the pool is away: %v", err)
	}
	next.volumes.away.Store(false)
	h.do(next.action("c1", "start"))
	if got := next.content("c1"); got != "work" || next.Journal.Pending() != 0 {
		t.Errorf("it holds %q, %d entries", got, next.Journal.Pending())
	}
}

// TestWhatGoesOnBesideAnUnfinishedChange: a pool that never comes back must not keep from running what is on another one.
func TestWhatGoesOnBesideAnUnfinishedChange(t *testing.T) {
	actions := []string{"start", "restart", "stop", "exit", "adopt", "unfreeze", "freeze", "delete", "update", "snapshot", "rename", "move", "restore",
		"refresh", "publish", "copy", "files"}
	for kind, beside := range map[string]string{
		kindCreate: "", kindRename: "", kindRestore: "", kindRefresh: "", kindDelete: "delete",
		kindMove: "start restart", kindMoveRest: "", kindSnapshotRename: "start restart", kindUpdate: "start restart", kindCopyFreeze: "start restart",
		kindSnapshot: "start restart snapshot copy move", kindSnapshotDelete: "start restart snapshot copy move",
	} {
		for _, action := range actions {
			want := kind == kindMoveRest || slices.Contains(strings.Fields(beside+" stop exit adopt unfreeze"), action)
			if got := goesOn(action)(kind); got != want {
				t.Errorf("%s beside an unfinished %s: %v", action, kind, got)
			}
		}
	}
}

// TestARestoreThatCannotGoBackIsSettledLater, by the same daemon, and what ran runs again.
func TestARestoreThatCannotGoBackIsSettledLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := cutOffRestore(t)
		h.engine.refuse = nil
		<-h.Autostart()
		if err := h.action("c1", "start"); !api.IsUnavailable(err) {
			t.Errorf("a start on what is to go: %v", err)
		}
		h.volumes.away.Store(false)
		h.do(h.patch("c1", map[string]string{"user.x": "y"}, nil))
		time.Sleep(2 * retryPause)
		synctest.Wait()
		if i := h.show("c1"); i.Status != "Running" || h.content("c1") != "new" {
			t.Errorf("it is %s and holds %q", i.Status, h.content("c1"))
		}
		h.onlyVolumes("c1")
		h.Close()
		_ = h.Store.Close()
	})
}

// TestASnapshotThatCannotBeTakenBackKeepsNobodyOnItsDisk: the instance can be copied, and moved to another pool, but not take what was to go along.
func TestASnapshotThatCannotBeTakenBackKeepsNobodyOnItsDisk(t *testing.T) {
	before := newHouse(t, nil)
	before.create("c1", nil)
	before.write("c1", "work")
	i := before.stored("c1")
	c := changeOf(i)
	c.Snapshot, c.Volumes = "s9", []storage.VolumeID{i.snapshotOf("s9", &Snapshot{})}
	_, err := before.Journal.Begin(t.Context(), kindSnapshot, c)
	before.do(err)
	h := before.restart()
	h.volumes.away.Store(false)
	h.volumes.deleting = func(id storage.VolumeID) error {
		if id == c.Volumes[0] {
			return errors.New("read-only file system")
		}
		return nil
	}
	if err := h.patch("c1", map[string]string{"user.x": "y"}, nil); !api.IsUnavailable(err) {
		t.Errorf("a change beside it: %v", err)
	}
	h.do(h.run(h.Create(t.Context(), "default", api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1"}})))
	elsewhere := api.InstancePost{Name: "c1", Project: "other", Migration: true}
	if err := h.run(h.Post(t.Context(), "default", "c1", elsewhere)); err == nil {
		t.Error("moved on its pool, with what is to go")
	}
	h.do(h.run(h.Post(t.Context(), "default", "c1", api.InstancePost{Name: "c1", Pool: "p2", Migration: true})))
	if got := h.content("c2"); got != "work" || h.stored("c1").Pool != "p2" || h.Journal.Pending() != 1 {
		t.Errorf("the copy holds %q, it is on %s, %d entries", got, h.stored("c1").Pool, h.Journal.Pending())
	}
	h.volumes.deleting = nil
	h.do(h.patch("c1", map[string]string{"user.x": "y"}, nil)) // once it can be taken back
	if h.Journal.Pending() != 0 {
		t.Error("an entry is left")
	}
}
