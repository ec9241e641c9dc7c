package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/berthd/berth/api"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
	"github.com/berthd/berth/internal/treecopy"
)

// The methods in this file are what instances need of pools: instance.Volumes.

var (
	faultImagePrepared = fault.New("storage.image.prepared")
	faultVolumeRenamed = fault.New("storage.volume.renamed")
)

// CheckPool tells whether a pool exists and is usable.
func (s *Service) CheckPool(pool string) error {
	_, err := s.driver(context.Background(), pool)
	return err
}

// Exists tells whether there is a volume or a snapshot of that name, whatever its identity. Whether there is none is not known of a pool that cannot be
// reached.
func (s *Service) Exists(ctx context.Context, vol VolumeID) (bool, error) {
	d, err := s.driver(ctx, vol.Pool)
	if err != nil {
		return false, err
	}
	return d.Exists(vol.onDisk())
}

// CreateFromImage makes an instance's volume from the pool's prepared copy of an image, which goes by a name. The first time the image is used
// in the pool, fill unpacks it; callers that come meanwhile wait for that.
func (s *Service) CreateFromImage(ctx context.Context, vol VolumeID, name string,
	fill func(ctx context.Context, dir string) error) error {
	d, err := s.driver(ctx, vol.Pool)
	if err != nil {
		return err
	}
	prepared := VolumeID{Pool: vol.Pool, Type: VolumeImage, Name: name}
	image := prepared.onDisk()
	release, err := s.holdImage(ctx, lock.Shared(prepared.Object()))
	if err != nil {
		return err
	}
	defer func() { release() }()
	for {
		ok, err := d.Exists(image)
		if err != nil {
			return err
		}
		if ok {
			break
		}
		release()
		if err := s.prepare(ctx, d, prepared, fill); err != nil {
			return err
		}
		if release, err = s.holdImage(ctx, lock.Shared(prepared.Object())); err != nil {
			release = func() {}
			return err
		}
	}
	return statusOf(d.CopyVolume(ctx, vol.onDisk(), image))
}

// prepare makes the pool's copy of an image unless somebody else just did.
func (s *Service) prepare(ctx context.Context, d storagedriver.Driver, prepared VolumeID, fill storagedriver.Fill) error {
	release, err := s.holdImage(ctx, lock.Exclusive(prepared.Object()))
	if err != nil {
		return err
	}
	defer release()
	image := prepared.onDisk()
	if ok, err := d.Exists(image); ok || err != nil {
		return err
	}
	err = d.CreateVolume(ctx, image, func(ctx context.Context, dir string) error {
		if err := fill(ctx, dir); err != nil {
			return err
		}
		return syncContent(dir)
	})
	if err != nil {
		return err
	}
	return faultImagePrepared.Hit()
}

// DropImage removes the prepared copies of an image from all pools, for an image that is deleted.
func (s *Service) DropImage(ctx context.Context, name string) error {
	var all error
	for _, pool := range s.Pools() {
		all = errors.Join(all, s.dropImage(ctx, pool, name))
	}
	return all
}

func (s *Service) dropImage(ctx context.Context, pool, name string) error {
	prepared := VolumeID{Pool: pool, Type: VolumeImage, Name: name}
	release, err := s.holdImage(ctx, lock.Exclusive(prepared.Object()))
	if err != nil {
		return err
	}
	defer release()
	d, err := s.driver(ctx, pool)
	if err != nil {
		return err
	}
	return d.DeleteVolume(ctx, prepared.onDisk())
}

// CreateEmpty makes a volume with an empty rootfs/.
func (s *Service) CreateEmpty(ctx context.Context, vol VolumeID) error {
	d, err := s.driver(ctx, vol.Pool)
	if err != nil {
		return err
	}
	return statusOf(d.CreateVolume(ctx, vol.onDisk(), func(_ context.Context, dir string) error {
		return os.Mkdir(filepath.Join(dir, "rootfs"), 0o755)
	}))
}

// Copy makes dst with the content of src, in one pool or two.
func (s *Service) Copy(ctx context.Context, dst, src VolumeID) error {
	to, err := s.driver(ctx, dst.Pool)
	if err != nil {
		return err
	}
	ctx = s.paced(ctx, dst.Pool, src.Pool)
	if dst.Pool == src.Pool {
		if dst.Snapshot != "" {
			return statusOf(to.CopySnapshot(ctx, dst.onDisk(), src.onDisk()))
		}
		return statusOf(to.CopyVolume(ctx, dst.onDisk(), src.onDisk()))
	}
	return s.copyAcross(ctx, to, dst, src)
}

// copyAcross copies between pools, and to the disk, as a move removes the source next. A snapshot arrives by way of a volume with a
// name that no instance can have.
func (s *Service) copyAcross(ctx context.Context, to storagedriver.Driver, dst, src VolumeID) (err error) {
	release, err := s.Mount(ctx, src)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	target := dst.onDisk()
	if dst.Snapshot != "" {
		// Its name is enough to remove it by: not every file system keeps identities.
		target.Name, target.Snapshot, target.UUID = storagedriver.Unfinished+dst.diskName()+" "+dst.Snapshot, "", ""
	}
	if err := to.CreateVolume(ctx, target, func(ctx context.Context, dir string) error {
		return treecopy.Copy(ctx, dir, s.Path(src), treecopy.Options{})
	}); err != nil {
		return statusOf(err)
	}
	if dst.Snapshot == "" {
		return syncContent(to.Path(target))
	}
	err = to.CopySnapshot(ctx, dst.onDisk(), target)
	if err == nil {
		err = syncContent(to.Path(dst.onDisk()))
	}
	return errors.Join(statusOf(err), to.DeleteVolume(context.WithoutCancel(ctx), target))
}

// Snapshot makes a snapshot volume of its instance's volume.
func (s *Service) Snapshot(ctx context.Context, snap VolumeID) error {
	d, err := s.driver(ctx, snap.Pool)
	if err != nil {
		return err
	}
	return statusOf(d.CreateSnapshot(s.paced(ctx, snap.Pool), snap.onDisk()))
}

// Restore puts the snapshot's content in the place of its instance's volume, atomically.
func (s *Service) Restore(ctx context.Context, snap VolumeID) error {
	d, err := s.driver(ctx, snap.Pool)
	if err != nil {
		return err
	}
	return statusOf(d.RestoreSnapshot(s.paced(ctx, snap.Pool), snap.onDisk()))
}

// Exchange has two volumes of one pool change places, in one step.
func (s *Service) Exchange(ctx context.Context, a, b VolumeID) error {
	if a.Pool != b.Pool {
		return fmt.Errorf("exchange volumes %s and %s of two pools: %w", a.Name, b.Name, errors.ErrUnsupported)
	}
	d, err := s.driver(ctx, a.Pool)
	if err != nil {
		return err
	}
	return statusOf(d.ExchangeVolumes(ctx, a.onDisk(), b.onDisk()))
}

// Rename renames a volume and all its snapshots, or one snapshot. That it was done already is no error.
func (s *Service) Rename(ctx context.Context, old, new VolumeID) error {
	if old.Pool != new.Pool {
		return fmt.Errorf("rename volume %s from pool %s to %s: %w", old.Name, old.Pool, new.Pool, errors.ErrUnsupported)
	}
	d, err := s.driver(ctx, old.Pool)
	if err != nil {
		return err
	}
	err = d.RenameVolume(ctx, old.onDisk(), new.onDisk())
	if errors.Is(err, storagedriver.ErrUnmarked) {
		if err = claimThere(ctx, d, old); err == nil {
			err = d.RenameVolume(ctx, old.named().onDisk(), new.named().onDisk())
		}
	}
	if err != nil {
		return statusOf(err)
	}
	return faultVolumeRenamed.Hit()
}

// claimThere claims a volume that is ErrUnmarked. From then on it goes by its name: not every file system keeps marks.
func claimThere(ctx context.Context, d storagedriver.Driver, v VolumeID) error {
	there, err := d.Exists(v.onDisk())
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("%s: %w", v.onDisk(), storagedriver.ErrUnmarked) // what is elsewhere may be anybody's
	}
	return d.ClaimVolume(ctx, v.onDisk())
}

// RenameBack undoes Rename(old, new). What does not carry the volume's UUID was not renamed, and stays where it is; where no
// UUIDs are kept, it was if there is nothing left under the old name.
func (s *Service) RenameBack(ctx context.Context, old, new VolumeID) error {
	d, err := s.driver(ctx, old.Pool)
	if err != nil {
		return err
	}
	from := new.onDisk()
	from.UUID = old.UUID
	err = d.RenameVolume(ctx, from, old.onDisk())
	if errors.Is(err, storagedriver.ErrUnmarked) {
		if there, err := d.Exists(old.onDisk()); there || err != nil {
			return err
		}
		err = d.RenameVolume(ctx, new.named().onDisk(), old.named().onDisk())
	}
	if errors.Is(err, storagedriver.ErrForeign) {
		return nil
	}
	return statusOf(err)
}

// Delete removes volumes and snapshots, in the order given. It is no error if one, or its pool, does not exist. A volume without a
// mark is taken for the one meant; one marked with another UUID is left alone.
func (s *Service) Delete(ctx context.Context, vols ...VolumeID) error {
	return s.deleteEach(ctx, vols, func(d storagedriver.Driver, v VolumeID, err error) error {
		if errors.Is(err, storagedriver.ErrUnmarked) {
			if err = claimThere(ctx, d, v); err == nil {
				err = d.DeleteVolume(ctx, v.named().onDisk())
			}
		}
		return err
	})
}

// Undo removes the volumes and snapshots that a call has made, and nothing else: only those that carry the UUIDs given.
// Without a UUID nothing is removed.
func (s *Service) Undo(ctx context.Context, vols ...VolumeID) error {
	marked := slices.DeleteFunc(slices.Clone(vols), func(v VolumeID) bool { return v.UUID == "" })
	return s.deleteEach(ctx, marked, func(_ storagedriver.Driver, _ VolumeID, err error) error {
		if errors.Is(err, storagedriver.ErrUnmarked) {
			return nil
		}
		return err
	})
}

func (s *Service) deleteEach(ctx context.Context, vols []VolumeID, after func(storagedriver.Driver, VolumeID, error) error) error {
	for _, v := range vols {
		d, err := s.driver(ctx, v.Pool)
		if api.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		err = after(d, v, d.DeleteVolume(ctx, v.onDisk()))
		if errors.Is(err, storagedriver.ErrForeign) {
			slog.Warn("A volume is left alone: it is another one of that name", "pool", v.Pool, "volume", v.onDisk().String())
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Path is the volume's folder on the host. It is valid between Mount and its release.
func (s *Service) Path(vol VolumeID) string {
	row, ok := s.pools.Get(vol.Pool)
	if !ok {
		return ""
	}
	d, err := s.newDriver(vol.Pool, row.Value)
	if err != nil {
		return ""
	}
	return d.Path(vol.onDisk())
}

// Mount makes the volume reachable at Path; calls nest, each with its own release.
func (s *Service) Mount(ctx context.Context, vol VolumeID) (release func() error, err error) {
	d, err := s.driver(ctx, vol.Pool)
	if err != nil {
		return nil, err
	}
	unlock, err := s.holdMount(ctx, vol)
	if err != nil {
		return nil, err
	}
	defer unlock()
	vol = vol.named()
	s.mu.Lock()
	mounted := s.mounts[vol] > 0
	s.mu.Unlock()
	if !mounted {
		if err := d.MountVolume(ctx, vol.onDisk()); err != nil {
			return nil, statusOf(err)
		}
	}
	s.mu.Lock()
	s.mounts[vol]++
	s.mu.Unlock()
	released := false
	return func() error {
		if released {
			return nil
		}
		released = true
		return s.unmount(d, vol)
	}, nil
}

func (s *Service) unmount(d storagedriver.Driver, vol VolumeID) error {
	ctx := context.Background() // a release happens whatever became of the caller
	unlock, err := s.holdMount(ctx, vol)
	if err != nil {
		return err
	}
	defer unlock()
	s.mu.Lock()
	s.mounts[vol]--
	last := s.mounts[vol] <= 0
	if last {
		delete(s.mounts, vol)
	}
	s.mu.Unlock()
	if !last {
		return nil
	}
	return d.UnmountVolume(ctx, vol.onDisk())
}

// Usage is what a volume takes, in bytes; -1 where the pool cannot tell cheaply.
func (s *Service) Usage(ctx context.Context, vol VolumeID) (int64, error) {
	d, err := s.driver(ctx, vol.Pool)
	if err != nil {
		return -1, err
	}
	if u, ok := d.(storagedriver.UsageReporter); ok {
		return u.Usage(ctx, vol.onDisk())
	}
	return -1, nil
}

// Record is the op that makes a volume known to its pool's list, with the configuration and description that like has
// there; the zero VolumeID has none.
func (s *Service) Record(vol, like VolumeID) store.Op {
	record := &volumeRecord{}
	if like != (VolumeID{}) {
		if row, ok := s.volumes.Get(like.path()...); ok {
			record.Config, record.Description = maps.Clone(row.Value.Config), row.Value.Description
		}
	}
	return s.volumes.Put(record, vol.path()...)
}

// Forget is the op that undoes Record.
func (s *Service) Forget(vol VolumeID) store.Op { return s.volumes.Remove(vol.path()...) }

// statusOf gives a driver's error the status that clients see.
func statusOf(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storagedriver.ErrExists):
		return api.Conflict("%w", err)
	case errors.Is(err, storagedriver.ErrNotFound):
		return api.NotFound("%w", err)
	}
	return err
}
