package storage

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
)

// restoring calls meanwhile while a volume is being restored.
type restoring struct {
	storagedriver.Driver
	meanwhile func()
}

func (r *restoring) RestoreSnapshot(ctx context.Context, snap storagedriver.Volume) error {
	r.meanwhile()
	return r.Driver.RestoreSnapshot(ctx, snap)
}

// TestNobodyIsGivenAVolumeThatIsBeingRestored: an instance that starts meanwhile would be left with a folder that is gone.
func TestNobodyIsGivenAVolumeThatIsBeingRestored(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	w.ok(w.create("v", api.StorageVolumeSource{}))
	w.ok(w.snapshot("v", "s0"))
	var early error
	w.service.open["p"] = &restoring{w.service.open["p"], func() {
		ctx, cancel := context.WithTimeout(w.ctx, 50*time.Millisecond)
		defer cancel()
		_, early = w.service.Attach(ctx, "c1/d", "p", "default", "v")
	}}
	w.ok(w.service.UpdateVolume(w.ctx, custom("v"), api.StorageVolumePut{Restore: "s0"}, false, anyRevision))
	if !errors.Is(early, context.DeadlineExceeded) {
		t.Errorf("attached during the restore: %v", early)
	}
	_, err := w.service.Attach(w.ctx, "c1/d", "p", "default", "v")
	w.ok(err)
}
