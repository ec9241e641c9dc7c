package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
)

// poolDisk is a file system in memory that is mounted at a folder, can be away from it and come back.
type poolDisk struct {
	*world
	path string
	away int
}

func (w *world) disk() *poolDisk {
	w.Helper()
	d := &poolDisk{world: w, path: w.TempDir()}
	w.ok(unix.Mount("pool", d.path, "tmpfs", 0, ""))
	w.Cleanup(func() {
		_ = unix.Unmount(filepath.Join(w.root, "storage-pools", "p"), unix.MNT_DETACH)
		_ = unix.Unmount(d.path, unix.MNT_DETACH)
	})
	return d
}

func (d *poolDisk) remove() {
	d.Helper()
	var err error
	d.away, err = unix.OpenTree(unix.AT_FDCWD, d.path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	d.ok(err)
	_ = unix.Unmount(filepath.Join(d.root, "storage-pools", "p"), 0)
	d.ok(unix.Unmount(d.path, 0))
}

func (d *poolDisk) comeBack() {
	d.Helper()
	d.ok(unix.MoveMount(d.away, "", unix.AT_FDCWD, d.path, unix.MOVE_MOUNT_F_EMPTY_PATH))
	d.ok(unix.Close(d.away))
}

// holds fails unless the folder of the disk has as many entries.
func (d *poolDisk) holds(want int) {
	d.Helper()
	if entries, err := os.ReadDir(d.path); err != nil || len(entries) != want {
		d.Errorf("%s holds %v, %v", d.path, entries, err)
	}
}

// begun is an entry of a change of pool p that was cut off.
func (d *poolDisk) begun(kind string, r *poolRecord) {
	d.Helper()
	e, err := d.service.entryOf(d.ctx, "p", r)
	d.ok(err)
	_, err = d.journal.Begin(d.ctx, kind, e)
	d.ok(err)
}

// cutOffCreation is one of pool p that was cut off when the pool had been made, with the disk away by the next start.
func cutOffCreation(t *testing.T) *poolDisk {
	d := newWorld(t).disk()
	r := &poolRecord{UUID: "one", Driver: "dir", Config: map[string]string{"source": d.path}}
	d.begun(kindPoolCreate, r)
	driver, err := d.service.newDriver("p", r)
	d.ok(err)
	d.ok(errors.Join(driver.Create(d.ctx), driver.Mount(d.ctx)))
	d.remove()
	d.restart()
	return d
}

// TestAPoolWhoseCreationWasCutOffIsUndoneOnceItsDiskIsBack: what it has left was there for ever, and kept the disk from being made a pool.
func TestAPoolWhoseCreationWasCutOffIsUndoneOnceItsDiskIsBack(t *testing.T) {
	d := cutOffCreation(t)
	if n := d.journal.Pending(); n != 1 {
		t.Errorf("%d entries", n)
	}
	if _, err := os.Lstat(filepath.Join(d.root, "storage-pools", "p")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pool's place: %v", err)
	}
	d.comeBack()
	d.ok(d.pool("p", map[string]string{"source": d.path})) // which undoes it first
	if n := d.journal.Pending(); n != 0 {
		t.Errorf("%d entries", n)
	}
	d.ok(d.service.DeletePool(d.ctx, "p"))
	d.holds(0)
}

// TestALateUndoOfAPoolLeavesTheNextOneOfItsName, and what is on another disk at its place, alone.
func TestALateUndoOfAPoolLeavesTheNextOneOfItsName(t *testing.T) {
	d := cutOffCreation(t)
	other := t.TempDir()
	d.ok(d.pool("p", map[string]string{"source": other}))
	d.ok(d.create("v", api.StorageVolumeSource{}))
	d.ok(d.pool("q", map[string]string{"source": d.path})) // of the folder that the disk was mounted at
	d.restart()
	d.holds(len(poolFolders))
	d.ok(d.service.DeletePool(d.ctx, "q"))
	d.comeBack()
	d.service.settleSource(d.ctx, d.path)
	d.holds(0)
	if n := d.journal.Pending(); n != 0 {
		t.Errorf("%d entries", n)
	}
	if status := d.statusOfPool("p"); status != "Created" {
		t.Errorf("the next is taken out of use: %s", status)
	}
	if there, err := d.service.Exists(d.ctx, custom("v")); !there || err != nil {
		t.Errorf("the volume of the next: %v, %v", there, err)
	}
	d.ok(d.service.DeleteVolume(d.ctx, custom("v")))
	d.ok(d.service.DeletePool(d.ctx, "p"))
}

// poolFolders are those that a pool has.
var poolFolders = [...]string{"buckets", "containers", "containers-snapshots", "custom", "custom-snapshots", "images", "virtual-machines", "virtual-machines-snapshots"}

// TestAFolderThatIsToBeClearedIsNoPools until that is done.
func TestAFolderThatIsToBeClearedIsNoPools(t *testing.T) {
	d := newWorld(t).disk()
	source := map[string]string{"source": d.path}
	d.begun(kindPoolCreate, &poolRecord{UUID: "one", Driver: "dir", Config: source})
	d.ok(os.Mkdir(filepath.Join(d.path, "images"), 0o700))
	d.readOnly(unix.MS_RDONLY)
	d.restart()
	d.fails(d.pool("q", source), 503, "An earlier change (storage.pool.create) is unfinished")
	d.ok(d.pool("p", nil)) // its name is free
	d.ok(d.service.DeletePool(d.ctx, "p"))
	d.readOnly(0)
	d.ok(d.pool("q", source))
	d.ok(d.service.DeletePool(d.ctx, "q"))
}

func (d *poolDisk) readOnly(flag uintptr) {
	d.Helper()
	d.ok(unix.Mount("", d.path, "", unix.MS_REMOUNT|flag, ""))
}

// cutOffDeletion is one of pool p that was cut off at once, with the disk away by the next start.
func cutOffDeletion(t *testing.T) *poolDisk {
	d := newWorld(t).disk()
	d.ok(d.pool("p", map[string]string{"source": d.path}))
	row, _ := d.service.pools.Get("p")
	d.begun(kindPoolDelete, row.Value)
	d.remove()
	d.restart()
	if n := d.journal.Pending(); n != 1 || len(d.service.Pools()) != 1 {
		t.Errorf("%d entries, pools %v", n, d.service.Pools())
	}
	return d
}

// TestAPoolWhoseDeletionWasCutOffGoesOnceItsDiskIsBack, with all that it made.
func TestAPoolWhoseDeletionWasCutOffGoesOnceItsDiskIsBack(t *testing.T) {
	d := cutOffDeletion(t)
	d.fails(d.pool("q", map[string]string{"source": d.path}), 400, `is that of storage pool "p"`)
	d.comeBack()
	d.holds(len(poolFolders))
	d.service.settleSource(d.ctx, d.path)
	d.holds(0)
	if n := d.journal.Pending(); n != 0 || len(d.service.Pools()) != 0 {
		t.Errorf("%d entries, pools %v", n, d.service.Pools())
	}
}

// TestADeletionThatIsAskedForAgainStandsForBoth: it does not wait for the disk, and the earlier one does nothing to the next pool of the name.
func TestADeletionThatIsAskedForAgainStandsForBoth(t *testing.T) {
	d := cutOffDeletion(t)
	d.ok(d.service.DeletePool(d.ctx, "p"))
	d.ok(d.pool("p", nil))
	d.comeBack()
	d.service.settleSource(d.ctx, d.path)
	if n := d.journal.Pending(); n != 0 || len(d.service.Pools()) != 1 {
		t.Errorf("%d entries, pools %v", n, d.service.Pools())
	}
	d.ok(d.service.CheckPool("p"))
	d.ok(d.service.DeletePool(d.ctx, "p"))
}

// TestAPoolWhoseSourceHasGoneIsForgotten when nothing uses it any more; its name, and the daemon's folder, are free again.
func TestAPoolWhoseSourceHasGoneIsForgotten(t *testing.T) {
	for name, lose := range map[string]func(d *poolDisk){
		"away":                         func(d *poolDisk) { d.remove() },
		"unmounted lazily":             func(d *poolDisk) { d.ok(unix.Unmount(d.path, unix.MNT_DETACH)) },
		"unmounted, its place is gone": func(d *poolDisk) { d.remove(); d.ok(os.Remove(d.path)) },
		"read-only":                    func(d *poolDisk) { d.readOnly(unix.MS_RDONLY) },
	} {
		for when, restart := range map[string]bool{" under the daemon": false, " before it starts": true} {
			t.Run(name+when, func(t *testing.T) {
				d := newWorld(t).disk()
				d.ok(d.pool("p", map[string]string{"source": d.path}))
				lose(d)
				if restart {
					_ = unix.Unmount(filepath.Join(d.root, "storage-pools", "p"), 0)
					d.restart()
				}
				d.ok(d.service.DeletePool(d.ctx, "p"))
				if left, err := os.ReadDir(filepath.Join(d.root, "storage-pools")); err != nil || len(left) > 0 {
					t.Errorf("left in the daemon's folder: %v, %v", left, err)
				}
				if n := d.journal.Pending(); n != 0 || len(d.service.Pools()) != 0 {
					t.Errorf("%d entries, pools %v", n, d.service.Pools())
				}
				d.ok(d.pool("p", nil))
				d.ok(d.service.DeletePool(d.ctx, "p"))
			})
		}
	}
}

// TestAPoolThatIsUsedIsNotForgotten, though its disk is away, and the way out is to say that nothing is on it any more.
func TestAPoolThatIsUsedIsNotForgotten(t *testing.T) {
	d := newWorld(t).disk()
	d.ok(d.pool("p", map[string]string{"source": d.path}))
	d.ok(d.create("v", api.StorageVolumeSource{}))
	d.remove()
	d.restart()
	d.fails(d.service.DeletePool(d.ctx, "p"), 400, "The storage pool is currently in use")
	d.fails(d.service.DeleteVolume(d.ctx, custom("v")), 503, `make the folder "containers" in it`)
	d.ok(os.Mkdir(filepath.Join(d.path, "containers"), 0o711))
	d.ok(d.service.DeleteVolume(d.ctx, custom("v")))
	d.ok(d.service.DeletePool(d.ctx, "p"))
	d.holds(0)
}

// TestALostPoolWhoseDeletionFailsIsAsItWas: nothing is made where its disk is to be mounted.
func TestALostPoolWhoseDeletionFailsIsAsItWas(t *testing.T) {
	d := newWorld(t).disk()
	d.ok(d.pool("p", map[string]string{"source": d.path}))
	row, _ := d.service.pools.Get("p")
	d.remove()
	d.restart()
	stale := row
	stale.Revision += 1000 // which the store refuses to remove
	if err := d.service.deletePool(d.ctx, "p", stale, errors.New("its disk is away")); err == nil {
		t.Error("deleted")
	}
	d.holds(0)
	if n := d.journal.Pending(); n != 0 || len(d.service.Pools()) != 1 {
		t.Errorf("%d entries, pools %v", n, d.service.Pools())
	}
	d.comeBack()
	d.ok(d.service.CheckPool("p"))
	// The same of one that is there: it is whole again.
	if err := d.service.deletePool(context.Background(), "p", stale, nil); err == nil {
		t.Error("deleted")
	}
	d.holds(len(poolFolders))
	d.ok(d.service.CheckPool("p"))
	d.ok(d.service.DeletePool(d.ctx, "p"))
	d.holds(0)
}
