package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/loopfs"
)

// onDisk is a world with a pool "q" on a disk that can lose power, and "p" elsewhere. Its store is not on that disk.
func onDisk(t *testing.T) (*world, *loopfs.Disk) {
	t.Helper()
	disk := loopfs.PowerDisk(t)
	w := newWorld(t)
	source := filepath.Join(disk.Path, "pool")
	w.ok(os.Mkdir(source, 0o711))
	w.ok(w.pool("p", nil))
	w.ok(w.pool("q", map[string]string{"source": source}))
	t.Cleanup(func() { w.ok(w.service.unmountAll(t)) })
	return w, disk
}

// powerCut ends the power of pool q, and starts the daemon again.
func (w *world) powerCut(disk *loopfs.Disk) {
	w.Helper()
	disk.SyncOther()
	disk.PowerCut(func() { w.ok(w.service.unmountAll(w.T)) })
	w.restart()
}

// unmountAll lets go of the file systems that pools are on, as the end of the host does.
func (s *Service) unmountAll(t *testing.T) (err error) {
	t.Helper()
	for _, pool := range s.Pools() {
		d, derr := s.driver(context.Background(), pool)
		if derr == nil {
			derr = d.Unmount(context.Background())
		}
		err = errors.Join(err, derr)
	}
	return err
}

func (w *world) holds(v VolumeID, file, want string) {
	w.Helper()
	if got, err := os.ReadFile(filepath.Join(w.service.Path(v), file)); err != nil || string(got) != want {
		w.Errorf("%s of %s: %q, %v, want %q", file, v.Name, got, err, want)
	}
}

func fillFile(_ context.Context, dir string) error {
	return errors.Join(os.Mkdir(filepath.Join(dir, "rootfs"), 0o755), os.WriteFile(filepath.Join(dir, "rootfs", "f"), []byte("text"), 0o644))
}

// Whatever instances a power cut takes along, those made of an image from then on are whole.
func TestAPreparedImageOutlivesAPowerCut(t *testing.T) {
	w, disk := onDisk(t)
	a := VolumeID{Pool: "q", Project: "default", Type: VolumeContainer, Name: "a"}
	w.ok(w.service.CreateFromImage(w.ctx, a, "f00d", fillFile))
	w.powerCut(disk)
	b := a
	b.Name = "b"
	w.ok(w.service.CreateFromImage(w.ctx, b, "f00d", fillFile))
	w.holds(b, "rootfs/f", "text")
}

// What is moved has its source removed: it must be on the disk by then.
func TestWhatIsMovedOutlivesAPowerCut(t *testing.T) {
	w, disk := onDisk(t)
	for _, from := range []string{"p", "q"} { // to another pool, and to another name in one
		t.Run("from "+from, func(t *testing.T) {
			id, to := custom("v"+from), custom("w"+from)
			id.Pool, to.Pool = from, "q"
			w.run(w.service.CreateVolume(w.ctx, from, "default", api.StorageVolumesPost{Name: id.Name, Type: "custom"}))
			file := filepath.Join(w.service.Path(id), "f")
			w.ok(os.WriteFile(file, []byte("text"), 0o644))
			w.ok(syncContent(filepath.Dir(file)))
			w.run(w.service.CreateVolumeSnapshot(id, api.StorageVolumeSnapshotsPost{Name: "s0"}))
			w.ok(syncContent(filepath.Dir(file)))
			w.run(w.service.MoveVolume(id, to))
			w.powerCut(disk)
			w.holds(to, "f", "text")
			to.Snapshot = "s0"
			w.holds(to, "f", "text")
		})
	}
}

// An instance that moves to another pool is copied there, and removed here.
func TestWhatIsCopiedToAnotherPoolOutlivesAPowerCut(t *testing.T) {
	w, disk := onDisk(t)
	a := VolumeID{Pool: "p", Project: "default", Type: VolumeContainer, Name: "a"}
	w.ok(w.service.CreateFromImage(w.ctx, a, "f00d", fillFile))
	b := a
	b.Pool = "q"
	w.ok(w.service.Copy(w.ctx, b, a))
	w.powerCut(disk)
	w.holds(b, "rootfs/f", "text")
}
