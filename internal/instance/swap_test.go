package instance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

// content reads what a volume of c1 holds, and write changes it.
func (h *house) content(name string) string {
	h.t.Helper()
	data, err := os.ReadFile(filepath.Join(h.root, "storage-pools/p1/containers", name, "rootfs/content"))
	h.do(err)
	return string(data)
}

func (h *house) write(name, text string) {
	h.t.Helper()
	h.do(os.WriteFile(filepath.Join(h.root, "storage-pools/p1/containers", name, "rootfs/content"), []byte(text), 0o600))
}

// onlyVolumes fails if a pool holds anything but the volumes named.
func (h *house) onlyVolumes(names ...string) {
	h.t.Helper()
	entries, err := os.ReadDir(filepath.Join(h.root, "storage-pools/p1/containers"))
	h.do(err)
	if len(entries) != len(names) {
		h.t.Errorf("the pool holds %v", entries)
	}
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(h.root, "storage-pools/p1/containers", name, markFile)); err == nil {
			h.t.Errorf("%s is marked still", name)
		}
	}
}

// restorable makes a running instance that has changed since its snapshot.
func restorable(t *testing.T) *house {
	h := newHouse(t, nil)
	h.launch("c1", nil)
	h.write("c1", "old")
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s"})))
	h.write("c1", "new")
	h.do(h.patch("c1", map[string]string{"user.when": "now"}, nil))
	return h
}

func (h *house) restoreS() error {
	return h.run(h.Restore(h.t.Context(), "default", "c1", "s", anyRevision))
}

// TestARestoreThatFailsLeavesTheInstanceRunning, wherever it fails.
func TestARestoreThatFailsLeavesTheInstanceRunning(t *testing.T) {
	no := errors.New("no")
	for name, trouble := range map[string]func(h *house){
		"the content cannot be copied": func(h *house) { h.volumes.copying = func(storage.VolumeID) error { return no } },
		"the record cannot be written": func(h *house) {
			h.engine.refuse = refuseOnce(no, func(key, value string) bool {
				return strings.HasPrefix(key, "/journal/") && strings.Contains(value, `"kept":true`)
			})
		},
		"it does not start as it was": func(h *house) { h.nic.failOnce = "c1/eth0" },
	} {
		t.Run(name+", paused", func(t *testing.T) {
			h := restorable(t)
			h.do(h.action("c1", "freeze"))
			trouble(h)
			if err := h.restoreS(); err == nil {
				t.Fatal("it went well")
			}
			if i := h.show("c1"); i.Status != "Frozen" || i.Config["user.when"] != "now" {
				t.Errorf("it is %s, and is configured as %v", i.Status, i.Config)
			}
		})
		t.Run(name, func(t *testing.T) {
			h := restorable(t)
			trouble(h)
			if err := h.restoreS(); err == nil {
				t.Fatal("it went well")
			}
			h.volumes.copying = nil
			i := h.show("c1")
			if i.Status != "Running" || h.content("c1") != "new" || i.Config["user.when"] != "now" {
				t.Errorf("it is %s, holds %q, and is configured as %v", i.Status, h.content("c1"), i.Config)
			}
			h.onlyVolumes("c1")
			if n := h.Journal.Pending(); n != 0 {
				t.Errorf("%d journal entries are left", n)
			}
			h.do(h.restoreS())
			if i = h.show("c1"); i.Status != "Running" || h.content("c1") != "old" || i.Config["user.when"] != "" {
				t.Errorf("afterwards it is %s, holds %q, and is configured as %v", i.Status, h.content("c1"), i.Config)
			}
			h.onlyVolumes("c1")
		})
	}
}

// refuseOnce refuses the first commit that writes what fits.
func refuseOnce(err error, fits func(key, value string) bool) func([]store.Op) error {
	done := false
	return func(ops []store.Op) error {
		for _, op := range ops {
			if !done && fits(op.Key, string(op.Value)) {
				done = true
				return err
			}
		}
		return nil
	}
}

// TestAKillDuringARestore ends the daemon between any two commits.
func TestAKillDuringARestore(t *testing.T) {
	killDuringARestore(t, false)
	killDuringARestore(t, true)
}

// killDuringARestore also sees that what was paused before is paused again, if all is as before.
func killDuringARestore(t *testing.T, paused bool) {
	dead := errors.New("the daemon has ended")
	for n := range 14 {
		h := restorable(t)
		if paused {
			h.do(h.action("c1", "freeze"))
		}
		commits := 0
		h.engine.refuse = func([]store.Op) error {
			if commits++; commits > n {
				return dead
			}
			return nil
		}
		failed := h.restoreS() != nil
		h.engine.refuse = nil
		next := newHouse(t, h)
		next.do(next.Journal.Recover(t.Context()))
		next.do(next.Adopt(t.Context()))
		<-next.Autostart()
		i := next.show("c1")
		want := map[string]string{"now": "new", "": "old"}[i.Config["user.when"]]
		status := "Running"
		if paused && want == "new" {
			status = "Frozen"
		}
		if i.Status != status || next.content("c1") != want {
			t.Errorf("after %d commits it is %s, holds %q, and is configured as %v", n, i.Status, next.content("c1"), i.Config)
		}
		next.onlyVolumes("c1")
		if !failed {
			return
		}
	}
	t.Error("a restore takes more commits than are tried")
}

// TestARefreshIsCheckedFirst: what cannot be is found out while the copy is whole.
func TestARefreshIsCheckedFirst(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.write("c1", "first")
	refresh := func(config map[string]string) error {
		req := api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1", Refresh: true}}
		req.Config = config
		return h.run(h.Create(t.Context(), "default", req))
	}
	h.do(refresh(nil)) // there is none yet
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c2", api.InstanceSnapshotsPost{Name: "own"})))
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "theirs"})))
	h.write("c1", "second")
	if err := refresh(map[string]string{"limits.cpu": "zz"}); err == nil {
		t.Error("a bad key was taken")
	}
	if list, _ := h.Snapshots(t.Context(), "default", "c2"); h.content("c2") != "first" || len(list) != 1 || list[0].Name != "own" {
		t.Errorf("it holds %q and has the snapshots %+v", h.content("c2"), list)
	}
	h.volumes.copying = func(to storage.VolumeID) error {
		if to.Snapshot == "" {
			return errors.New("no")
		}
		return nil
	}
	if err := refresh(nil); err == nil {
		t.Error("no error")
	}
	h.volumes.copying = nil
	if list, _ := h.Snapshots(t.Context(), "default", "c2"); h.content("c2") != "first" || len(list) != 1 || list[0].Name != "own" {
		t.Errorf("it holds %q and has the snapshots %+v", h.content("c2"), list)
	}
	h.do(refresh(nil))
	if list, _ := h.Snapshots(t.Context(), "default", "c2"); h.content("c2") != "second" || len(list) != 1 || list[0].Name != "theirs" {
		t.Errorf("it holds %q and has the snapshots %+v", h.content("c2"), list)
	}
	h.onlyVolumes("c1", "c2")
	h.nothingLeft()
}

// TestARunningStateThatASnapshotHasNot is not restored in silence.
func TestARunningStateThatASnapshotHasNot(t *testing.T) {
	h := restorable(t)
	err := h.run(h.Put(t.Context(), "default", "c1", api.InstancePut{Restore: "s", Stateful: true}, anyRevision))
	if api.StatusOf(err) != 400 || err.Error() != "Stateful snapshot restore requested by snapshot is stateless" || h.content("c1") != "new" {
		t.Errorf("%v, content %q", err, h.content("c1"))
	}
}
