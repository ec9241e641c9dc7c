package storage

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

func errInUse() error { return api.BadRequest("Volume is still in use by running instances") }

type renameEntry struct{ From, To VolumeID }

// RenameVolume renames a custom volume with its snapshots, or one snapshot, within its pool.
func (s *Service) RenameVolume(ctx context.Context, id VolumeID, name string) error {
	if id.Type != VolumeCustom {
		return api.BadRequest("Renaming storage volumes of type %q is not allowed", id.Type)
	}
	if err := checkName(name); err != nil {
		return err
	}
	to := id
	if id.Snapshot != "" {
		to.Snapshot = name
	} else {
		to.Name = name
	}
	release, err := s.holdSettled(ctx, "rename", id, lock.Exclusive(id.Object()), lock.Exclusive(to.Object()), lock.Shared(lock.ForPool(id.Pool)))
	if err != nil {
		return err
	}
	defer release()
	row, ok := s.volumes.Get(id.path()...)
	if _, _, err := s.Volume(id); err != nil || !ok {
		return err
	}
	id.UUID, to.UUID = row.Value.UUID, row.Value.UUID
	if _, _, err := s.Volume(to); err == nil {
		return api.Conflict("Volume by that name already exists")
	}
	if err := s.unshared(to); err != nil {
		return err
	}
	if len(s.volumeUsers(id)) > 0 {
		return errInUse()
	}
	entry, err := s.Journal.Begin(ctx, kindVolumeRename, renameEntry{id, to})
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	err = s.Rename(ctx, id, to)
	if err == nil {
		err = faultVolumeMoved.Hit()
	}
	if err == nil {
		_, err = s.Store.CommitAll(ctx, s.moveSnapshotRecords(id, to), append(s.moveRecord(id, to), entry.Done())...)
	}
	if err != nil {
		if undo := s.takeRenameBack(ctx, id, to); undo != nil {
			entry.Leave(undo)
			return errors.Join(err, undo)
		}
		return errors.Join(err, entry.Close(ctx))
	}
	if id.Snapshot != "" {
		s.event(ctx, "storage-volume-snapshot-renamed", to, map[string]any{"old_name": id.Name + "/" + id.Snapshot})
		return nil
	}
	s.event(ctx, "storage-volume-renamed", to, map[string]any{"old_name": id.Name})
	return nil
}

// takeRenameBack gives a volume its old name back, and as many records of its snapshots as had got the new one.
func (s *Service) takeRenameBack(ctx context.Context, from, to VolumeID) error {
	if err := s.RenameBack(ctx, from, to); err != nil && !api.IsNotFound(err) {
		return err
	}
	if _, taken := s.volumes.Get(to.path()...); taken { // what is there is that one's: see unshared
		return nil
	}
	_, err := s.Store.CommitAll(ctx, s.moveSnapshotRecords(to, from))
	return err
}

// unshared fails while snapshots of another volume stand under a name that is free: a change has brought some of them there, and is not undone yet. So
// no volume has other snapshots than its own.
func (s *Service) unshared(id VolumeID) error {
	if id.Snapshot != "" || len(s.volumes.List(id.path()...)) == 0 {
		return nil
	}
	return api.Unavailable("Storage volume name %q is in use until an earlier change is undone", id.Name)
}

// moveRecord gives the record of a volume or a snapshot another place.
func (s *Service) moveRecord(from, to VolumeID) []store.Op {
	row, ok := s.volumes.Get(from.path()...)
	if !ok {
		return nil
	}
	return []store.Op{s.volumes.Remove(row.Path...), s.volumes.Put(row.Value, to.path()...)}
}

// moveSnapshotRecords does so with those of a volume's snapshots. The volume's own is moved last: it says where they belong.
func (s *Service) moveSnapshotRecords(from, to VolumeID) (ops []store.Op) {
	if from.Snapshot != "" {
		return nil
	}
	for _, row := range s.volumes.List(from.path()...) {
		target := to
		target.Snapshot = idOf(row.Path).Snapshot
		ops = append(ops, s.volumes.Remove(row.Path...), s.volumes.Put(row.Value, target.path()...))
	}
	return ops
}

// recoverVolumeRename takes a rename back that was cut off, or that failed: its client was told so, and somebody may have the new name by then.
func (s *Service) recoverVolumeRename(ctx context.Context, data json.RawMessage) error {
	var e renameEntry
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	if !s.known(e.From) {
		return nil
	}
	return s.takeRenameBack(ctx, e.From, e.To)
}
