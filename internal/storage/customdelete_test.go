package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/berthd/berth/api"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
)

// brittle is a driver that fails to delete a volume or a snapshot: with remove, once its content is gone.
type brittle struct {
	storagedriver.Driver
	of     storagedriver.Volume
	remove bool
	broken *bool
}

var errBrittle = errors.New("input/output error")

func (b brittle) DeleteVolume(ctx context.Context, v storagedriver.Volume) error {
	if !*b.broken || v.Kind != b.of.Kind || v.Name != b.of.Name || v.Snapshot != b.of.Snapshot {
		return b.Driver.DeleteVolume(ctx, v)
	}
	if b.remove {
		return errors.Join(b.Driver.DeleteVolume(ctx, v), errBrittle)
	}
	return errBrittle
}

// TestADeletionOfAVolumeIsWhollyDoneOrNotAtAll: one that failed at a snapshot left a volume in the list of which nothing was there.
func TestADeletionOfAVolumeIsWhollyDoneOrNotAtAll(t *testing.T) {
	snapshot := custom("v")
	snapshot.Snapshot = "s0"
	for name, c := range map[string]struct {
		delete, at VolumeID
		remove     bool // whether what it failed at is gone
		whole      bool // whether nothing has been lost, so nothing is left to be done
	}{
		"at the volume":                    {delete: custom("v"), at: custom("v"), whole: true},
		"behind the volume":                {delete: custom("v"), at: custom("v"), remove: true},
		"at its snapshot":                  {delete: custom("v"), at: snapshot},
		"of a snapshot":                    {delete: snapshot, at: snapshot, whole: true},
		"of a snapshot whose content went": {delete: snapshot, at: snapshot, remove: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.ok(w.pool("p", nil))
			w.ok(w.create("v", api.StorageVolumeSource{}))
			w.ok(os.WriteFile(filepath.Join(w.service.Path(custom("v")), "file"), []byte("work"), 0o600))
			w.ok(w.snapshot("v", "s0"))
			broken := true
			w.service.open["p"] = brittle{w.service.open["p"], c.at.onDisk(), c.remove, &broken}
			if err := w.service.DeleteVolume(w.ctx, c.delete); !errors.Is(err, errBrittle) {
				t.Errorf("deleted with %v", err)
			}
			update := func() error {
				return w.service.UpdateVolume(w.ctx, custom("v"), api.StorageVolumePut{}, false, anyRevision)
			}
			if !c.whole {
				if n := w.journal.Pending(); n != 1 {
					t.Errorf("%d entries", n)
				}
				w.fails(update(), 503, "An earlier change (storage.volume.delete) is unfinished")
				broken = false
				_ = update() // which finishes it first
				if _, _, err := w.service.Volume(c.delete); !api.IsNotFound(err) {
					t.Errorf("it is listed: %v", err)
				}
				if there, err := w.service.Exists(w.ctx, c.delete); there || err != nil {
					t.Errorf("it is there: %v, %v", there, err)
				}
			}
			broken = false
			for _, v := range []VolumeID{custom("v"), snapshot} {
				if _, _, err := w.service.Volume(v); err != nil {
					continue
				}
				if got, err := os.ReadFile(filepath.Join(w.service.Path(v), "file")); err != nil || string(got) != "work" {
					t.Errorf("%s %s is listed and holds %q, %v", v.Name, v.Snapshot, got, err)
				}
			}
			if n := w.journal.Pending(); n != 0 {
				t.Errorf("%d entries", n)
			}
			if _, _, err := w.service.Volume(custom("v")); err == nil {
				w.ok(w.service.DeleteVolume(w.ctx, custom("v")))
			}
			w.ok(w.service.DeletePool(w.ctx, "p"))
		})
	}
}
