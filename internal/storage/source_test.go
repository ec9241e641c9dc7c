package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
)

// inTime makes a call that must not wait for ever.
func (w *world) inTime(what string, call func() error) error {
	w.Helper()
	ended := make(chan error, 1)
	go func() { ended <- call() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(20 * time.Second):
		w.Fatalf("the %s waits for the source", what)
		return nil
	}
}

// TestASourceThatIsAPipe: its opening waits until somebody writes to it; the pool's lock, and the caller, waited with it.
func TestASourceThatIsAPipe(t *testing.T) {
	w := newWorld(t)
	pipe := filepath.Join(t.TempDir(), "pipe")
	w.ok(unix.Mkfifo(pipe, 0o600))
	err := w.inTime("creation", func() error { return w.pool("p", map[string]string{"source": pipe}) })
	w.fails(err, 400, fmt.Sprintf("Source path '%s' isn't a directory", pipe))
	w.ok(w.inTime("creation of another", func() error { return w.pool("p", nil) }))
}

// TestASourceThatHangs: a disk or a server may never answer. Who names it is told so, and the pool's name is free again.
func TestASourceThatHangs(t *testing.T) {
	w := newWorld(t)
	source := t.TempDir()
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("needs FUSE:", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse)
	w.ok(unix.Mount("x", source, "fuse", 0, options)) // and nobody ever reads what it is asked
	t.Cleanup(func() {
		_ = unix.Unmount(source, unix.MNT_DETACH)
		_ = unix.Close(fuse) // ends the call that is left
	})
	w.service.patience = 50 * time.Millisecond
	for _, folder := range []string{source, filepath.Join(source, "below")} {
		err := w.inTime("creation", func() error { return w.pool("p", map[string]string{"source": folder}) })
		w.fails(err, 503, fmt.Sprintf("Source path '%s' does not answer", folder))
	}
	w.service.patience = time.Minute
	w.ok(w.inTime("creation of another", func() error { return w.pool("p", nil) }))
}

// TestOfTwoPoolsOnOneFolderOneIsMade: a source is the host's, whatever the pools are called and whichever daemon makes them. The one
// that comes late must take nothing of the other's with it.
func TestOfTwoPoolsOnOneFolderOneIsMade(t *testing.T) {
	one, other := newWorld(t), newWorld(t)
	source := filepath.Join(t.TempDir(), "source")
	link := source + "-link"
	one.ok(os.Symlink(source, link))
	makers := []func() error{
		func() error { return one.pool("p", map[string]string{"source": source}) },
		func() error { return one.pool("q", map[string]string{"source": link}) },
		func() error { return other.pool("p", map[string]string{"source": source}) },
	}
	for round := range 20 {
		one.ok(os.Mkdir(source, 0o711))
		errs := make([]error, len(makers))
		var all sync.WaitGroup
		for n, create := range makers {
			all.Go(func() { errs[n] = create() })
		}
		all.Wait()
		made := 0
		for n, err := range errs {
			if err == nil {
				made++
			} else if status := api.StatusOf(err); status != 400 && status != 409 {
				t.Errorf("round %d, pool %d: status %d: %v", round, n, status, err)
			}
		}
		entries, err := os.ReadDir(source)
		_ = one.service.DeletePool(one.ctx, "p")
		_ = one.service.DeletePool(one.ctx, "q")
		_ = other.service.DeletePool(other.ctx, "p")
		if made != 1 || len(entries) == 0 {
			t.Fatalf("round %d: %d pools were made, and have %d folders (%v); %v", round, made, len(entries), err, errs)
		}
		one.ok(os.Remove(source)) // which it cannot unless it is empty
	}
}

// TestNoVolumeGoesToAProjectThatThereIsNot: nobody could reach it there.
func TestNoVolumeGoesToAProjectThatThereIsNot(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	w.ok(w.create("v", api.StorageVolumeSource{}))
	nowhere := custom("v")
	nowhere.Project = "nowhere"
	task, err := w.service.MoveVolume(custom("v"), nowhere)
	w.fails(err, 404, `Failed loading project "nowhere": Project not found`)
	if _, _, err := w.service.Volume(custom("v")); task != nil || err != nil {
		t.Errorf("the volume: %v", err)
	}
}

// TestAPoolWhoseDiskIsAwayForgetsNothing: with the disk unmounted, while the daemon runs or before it starts, a deletion is refused; the volume is there
// when the disk is back. The disk may be a folder of the user's, or mounted at the pool's own place.
func TestAPoolWhoseDiskIsAwayForgetsNothing(t *testing.T) {
	for name, external := range map[string]bool{"a source": true, "the daemon's own folder": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			own := filepath.Join(w.root, "storage-pools", "p")
			disk, config := own, map[string]string(nil)
			if external {
				disk = t.TempDir()
				config = map[string]string{"source": disk}
			}
			w.ok(os.MkdirAll(disk, 0o711))
			w.ok(unix.Mount("pool", disk, "tmpfs", 0, ""))
			t.Cleanup(func() {
				_ = unix.Unmount(own, unix.MNT_DETACH)
				_ = unix.Unmount(disk, unix.MNT_DETACH)
			})
			w.ok(w.pool("p", config))
			w.diskComesAndGoes(disk, own)
		})
	}
}

func (w *world) diskComesAndGoes(disk, own string) {
	w.Helper()
	id := VolumeID{Pool: "p", Project: "default", Type: VolumeCustom, Name: "v"}
	_, err := w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "v", Type: "custom"})
	w.ok(err)
	for name, restart := range map[string]bool{"under a running daemon": false, "before a start": true} {
		_, err := w.service.driver(w.ctx, "p")
		w.ok(err)
		keep, err := unix.OpenTree(unix.AT_FDCWD, disk, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		w.ok(err)
		w.ok(unix.Unmount(own, 0))
		if disk != own {
			w.ok(unix.Unmount(disk, 0))
		}
		if restart {
			w.service.Close()
			w.build()
			w.ok(w.service.Store.Load(w.ctx))
		}
		w.fails(w.service.DeleteVolume(w.ctx, id), 503, "unavailable: "+disk+" holds nothing of the pool")
		if _, _, err := w.service.Volume(id); err != nil {
			w.Errorf("%s: the volume is forgotten: %v", name, err)
		}
		if left, err := os.ReadDir(disk); err != nil || len(left) > 0 {
			w.Errorf("%s: %v was made where the disk is to be mounted, %v", name, left, err)
		}
		w.ok(unix.MoveMount(keep, "", unix.AT_FDCWD, disk, unix.MOVE_MOUNT_F_EMPTY_PATH))
		w.ok(unix.Close(keep))
	}
	w.ok(w.service.DeleteVolume(w.ctx, id))
}

// TestAPoolIsThereThoughARemnantCannotGo: what cannot be removed takes room and nothing else away; the next mount removes it.
func TestAPoolIsThereThoughARemnantCannotGo(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	w.ok(w.create("v", api.StorageVolumeSource{}))
	remnant := filepath.Join(w.root, "storage-pools", "p", "custom", storagedriver.Unfinished+"x")
	held := filepath.Join(remnant, "mnt")
	w.ok(os.MkdirAll(held, 0o711))
	w.ok(unix.Mount("held", held, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(held, unix.MNT_DETACH) })
	again := func() {
		t.Helper()
		w.service.Close()
		w.build()
		w.ok(w.service.Store.Load(w.ctx))
		_, err := w.service.driver(w.ctx, "p")
		w.ok(err)
		if _, _, err := w.service.Volume(custom("v")); err != nil {
			t.Error(err)
		}
	}
	again()
	if _, err := os.Stat(held); err != nil {
		t.Errorf("what is mounted there: %v", err)
	}
	w.ok(unix.Unmount(held, 0))
	again()
	if _, err := os.Lstat(remnant); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the remnant: %v", err)
	}
}
