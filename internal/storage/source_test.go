package storage

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/berthd/berth/api"
)

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
