package storage

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

// DeleteVolume deletes a custom volume that nothing uses, or one snapshot.
func (s *Service) DeleteVolume(ctx context.Context, id VolumeID) error {
	if id.Type != VolumeCustom {
		return api.BadRequest("Storage volumes of type %q cannot be deleted with the storage API", id.Type)
	}
	s.settle(ctx, id, kindVolumeDelete)
	release, err := s.hold(ctx, "delete", lock.Exclusive(id.Object()), lock.Shared(lock.ForPool(id.Pool)))
	if err != nil {
		return err
	}
	defer release()
	return s.deleteVolume(ctx, id)
}

// deleteVolume is DeleteVolume for a caller that holds the volume exclusively. beside are the kinds of unfinished changes that do not keep it back;
// another attempt at a deletion stands for both.
func (s *Service) deleteVolume(ctx context.Context, id VolumeID, beside ...string) error {
	if _, _, err := s.Volume(id); err != nil {
		return err
	}
	if err := s.unsettled(id, append(beside, kindVolumeDelete)...); err != nil {
		return err
	}
	if len(s.volumeUsers(id)) > 0 {
		return api.BadRequest("The storage volume is still in use")
	}
	all := s.identified(id)
	entry, err := s.Journal.Begin(ctx, kindVolumeDelete, all)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // from here on there is no way back
	if err := s.Delete(ctx, all[0]); err != nil {
		if s.kept(ctx, all[0], err) {
			return errors.Join(err, entry.Close(ctx))
		}
		entry.Leave(err)
		return err
	}
	// What fails from here on leaves the entry: another attempt, of whoever is first, removes the rest and forgets the volume.
	if err := s.Delete(ctx, all[1:]...); err != nil {
		entry.Leave(err)
		return err
	}
	if err := faultVolumeDeleted.Hit(); err != nil {
		entry.Leave(err)
		return err
	}
	if _, err := s.Store.CommitAll(ctx, s.forgetAll(all), entry.Done()); err != nil {
		entry.Leave(err)
		return err
	}
	action := "storage-volume-deleted"
	if id.Snapshot != "" {
		action = "storage-volume-snapshot-deleted"
	}
	s.event(ctx, action, id, nil)
	return nil
}

// kept tells whether a volume is there as it was although it was to be deleted, which failed with err: who wanted that was told so. A pool that was not
// reached has lost nothing; any other says whether the volume is there.
func (s *Service) kept(ctx context.Context, v VolumeID, err error) bool {
	if api.IsUnavailable(err) {
		return true
	}
	there, err := s.Exists(ctx, v)
	return err == nil && there
}

// forgetAll takes volumes and snapshots out of the list, as far as they are those of the identities given.
func (s *Service) forgetAll(all []VolumeID) []store.Op {
	var ops []store.Op
	for _, v := range slices.Backward(all) { // the volume after its snapshots
		if s.known(v) {
			ops = append(ops, s.Forget(v))
		}
	}
	return ops
}

// recoverVolumeDelete finishes a deletion that was cut off. What has been made under its names since is not concerned, and a volume stays that
// is there and that somebody has put to use since.
func (s *Service) recoverVolumeDelete(ctx context.Context, data json.RawMessage) error {
	var all []VolumeID
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(v VolumeID) bool { return !s.known(v) })
	if kept, err := s.wanted(ctx, all); kept || err != nil {
		return err
	}
	if err := s.Delete(ctx, all...); err != nil {
		return err
	}
	_, err := s.Store.CommitAll(ctx, s.forgetAll(all))
	return err
}

// wanted tells whether something uses one of the volumes that is still there.
func (s *Service) wanted(ctx context.Context, all []VolumeID) (bool, error) {
	for _, v := range all {
		if len(s.volumeUsers(v.named())) == 0 {
			continue
		}
		d, err := s.driver(ctx, v.Pool)
		if err != nil {
			return false, err
		}
		there, err := d.Exists(v.onDisk())
		if there {
			slog.Warn("A volume is used whose deletion was cut off; it stays", "pool", v.Pool, "volume", v.onDisk().String())
		}
		if there || err != nil {
			return there, err
		}
	}
	return false, nil
}
