package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
)

// put makes a folder with a file in the place of a volume, as somebody did by hand or an earlier store knew it.
func (w *world) put(path string) {
	w.Helper()
	w.ok(os.MkdirAll(filepath.Join(w.root, path), 0o711))
	w.ok(os.WriteFile(filepath.Join(w.root, path, "precious"), []byte("data"), 0o600))
}

// keeps fails unless what put made is there.
func (w *world) keeps(path string) {
	w.Helper()
	if data, err := os.ReadFile(filepath.Join(w.root, path, "precious")); err != nil || string(data) != "data" {
		w.Errorf("%s was lost: %q, %v", path, data, err)
	}
}

func (w *world) create(name string, src api.StorageVolumeSource) error {
	task, err := w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: name, Type: "custom", Source: src})
	if err != nil || task == nil {
		return err
	}
	return task.Run(w.ctx, operation.NoProgress{})
}

func (w *world) snapshot(name, snapshot string) error {
	task, err := w.service.CreateVolumeSnapshot(custom(name), api.StorageVolumeSnapshotsPost{Name: snapshot})
	if err != nil {
		return err
	}
	return task.Run(w.ctx, operation.NoProgress{})
}

func TestWhatWasThereBeforeAFailedCallIsThereAfterIt(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	w.ok(w.create("src", api.StorageVolumeSource{}))
	w.ok(w.snapshot("src", "s0"))
	w.put("storage-pools/p/custom/default_pre")
	w.put("storage-pools/p/custom-snapshots/default_other/s0")
	w.put("storage-pools/p/custom-snapshots/default_src/s1")

	w.fails(w.create("pre", api.StorageVolumeSource{}), 409, "already exists")
	copied := api.StorageVolumeSource{Type: "copy", Name: "src", Pool: "p"}
	w.fails(w.create("pre", copied), 409, "already exists")
	w.fails(w.create("other", copied), 409, "already exists") // the volume is made, then its snapshot is in the way
	w.fails(w.snapshot("src", "s1"), 409, "already exists")
	w.fails(w.service.RenameVolume(w.ctx, custom("src"), "pre"), 409, "already exists")
	move, err := w.service.MoveVolume(custom("src"), custom("pre"))
	w.ok(err)
	w.fails(move.Run(w.ctx, operation.NoProgress{}), 409, "already exists")

	w.restart()
	for _, path := range []string{"custom/default_pre", "custom-snapshots/default_other/s0", "custom-snapshots/default_src/s1"} {
		w.keeps("storage-pools/p/" + path)
	}
	if _, err := os.Lstat(filepath.Join(w.root, "storage-pools/p/custom/default_other")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the failed copy made is left: %v", err)
	}
	if n := w.journal.Pending(); n != 0 {
		t.Errorf("%d entries left in the journal", n)
	}
}

// TestAStaleEntryTakesNothing has recovery find entries whose names others have by now.
func TestAStaleEntryTakesNothing(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	for _, name := range []string{"a", "b"} {
		w.ok(w.create(name, api.StorageVolumeSource{}))
	}
	stale := w.service.identified(custom("a"))
	w.ok(w.service.DeleteVolume(w.ctx, custom("a")))
	w.ok(w.create("a", api.StorageVolumeSource{}))
	for _, kind := range []string{kindVolumeCreate, kindVolumeDelete} {
		_, err := w.journal.Begin(w.ctx, kind, stale)
		w.ok(err)
	}
	to := stale[0]
	to.Name = "c"
	_, err := w.journal.Begin(w.ctx, kindVolumeRename, renameEntry{stale[0], to})
	w.ok(err)
	w.restart()
	for _, name := range []string{"a", "b"} {
		if _, _, err := w.service.Volume(custom(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if ok, err := os.Stat(w.service.Path(custom(name))); err != nil || !ok.IsDir() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := w.journal.Pending(); n != 0 {
		t.Errorf("%d entries left in the journal", n)
	}
}

func TestAPoolThatHoldsSomethingIsNotRemoved(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	w.put("storage-pools/p/containers/pre")
	if err := w.service.DeletePool(w.ctx, "p"); err == nil {
		t.Error("deleted")
	}
	w.keeps("storage-pools/p/containers/pre")
	w.ok(w.service.CheckPool("p"))

	// A store that was restored may have an entry of a creation which had long ended.
	pool, ok := w.service.pools.Get("p")
	if !ok {
		t.Fatal("the pool is unknown")
	}
	_, err := w.journal.Begin(w.ctx, kindPoolCreate, poolEntry{Name: "p", Pool: *pool.Value}, w.service.pools.Remove("p"))
	w.ok(err)
	w.restart()
	w.keeps("storage-pools/p/containers/pre")
}

// TestACopyIsWholeOrRefused has a volume copied while another client deletes it.
func TestACopyIsWholeOrRefused(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	const files = 2000
	for round := range 5 {
		src, dst := fmt.Sprint("src", round), fmt.Sprint("dst", round)
		w.ok(w.create(src, api.StorageVolumeSource{}))
		for n := range files {
			w.ok(os.WriteFile(filepath.Join(w.service.Path(custom(src)), fmt.Sprint(n)), nil, 0o600))
		}
		var both sync.WaitGroup
		var copied error
		both.Go(func() { copied = w.create(dst, api.StorageVolumeSource{Type: "copy", Name: src, Pool: "p"}) })
		both.Go(func() { w.ok(w.service.DeleteVolume(w.ctx, custom(src))) })
		both.Wait()
		if copied != nil {
			w.fails(copied, 404, "not found")
			continue
		}
		if found, err := os.ReadDir(w.service.Path(custom(dst))); err != nil || len(found) != files {
			t.Errorf("the copy has %d of %d files (%v)", len(found), files, err)
		}
	}
}

// TestOneNameOneVolume has many clients make, rename and delete volumes of the same few names.
func TestOneNameOneVolume(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	names := []string{"a", "b", "c"}
	var all sync.WaitGroup
	for client := range 8 {
		all.Go(func() {
			for n := range 30 {
				name, other := names[(client+n)%3], names[n%3]
				for _, err := range []error{
					w.create(name, api.StorageVolumeSource{}),
					w.snapshot(name, fmt.Sprint("s", n%2)),
					w.service.RenameVolume(w.ctx, custom(name), other),
					w.service.DeleteVolume(w.ctx, custom(other)),
				} {
					if err != nil && !api.IsConflict(err) && !api.IsNotFound(err) {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	for _, name := range names {
		if err := w.service.DeleteVolume(w.ctx, custom(name)); err != nil && !api.IsNotFound(err) {
			t.Error(err)
		}
	}
	w.ok(w.service.DeletePool(w.ctx, "p")) // nothing is left in it
	if n := w.journal.Pending(); n != 0 {
		t.Errorf("%d entries left in the journal", n)
	}
}

// TestSnapshotsWithoutNamesAtOnce: each gets a name of its own, although all were asked for before one was made.
func TestSnapshotsWithoutNamesAtOnce(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	w.ok(w.create("v", api.StorageVolumeSource{}))
	first, err := w.service.CreateVolumeSnapshot(custom("v"), api.StorageVolumeSnapshotsPost{})
	w.ok(err)
	second, err := w.service.CreateVolumeSnapshot(custom("v"), api.StorageVolumeSnapshotsPost{})
	w.run(first, nil)
	w.run(second, err)
	for _, name := range []string{"snap0", "snap1"} {
		snap := custom("v")
		snap.Snapshot = name
		if _, _, err := w.service.VolumeSnapshot(snap); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
