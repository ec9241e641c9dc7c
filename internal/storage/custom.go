package storage

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/berthd/berth/api"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

const (
	kindVolumeCreate = "storage.volume.create"
	kindVolumeDelete = "storage.volume.delete"
	kindVolumeRename = "storage.volume.rename"
)

var (
	faultVolumeBegun   = fault.New("storage.volume.create.begun")
	faultVolumeMade    = fault.New("storage.volume.create.made")
	faultVolumeDeleted = fault.New("storage.volume.delete.removed")
	faultVolumeMoved   = fault.New("storage.volume.rename.moved")
)

// checkName checks the name of a volume or snapshot to be.
func checkName(name string) error {
	switch {
	case name == "":
		return api.BadRequest("No name provided")
	case strings.Contains(name, "/"):
		return api.BadRequest("Storage volume names may not contain slashes")
	case strings.HasPrefix(name, ".") || len(name) > 180 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return api.BadRequest("Invalid storage volume name %q", name)
	}
	return nil
}

// CreateVolume makes a custom volume. An empty one is made at once and the task is nil; a copy is a task.
func (s *Service) CreateVolume(ctx context.Context, pool, project string, req api.StorageVolumesPost) (*operation.Task, error) {
	if err := checkName(req.Name); err != nil {
		return nil, err
	}
	switch {
	case req.Type == "":
		return nil, api.BadRequest("You must provide a storage volume type of the storage volume")
	case req.Type != string(VolumeCustom):
		return nil, api.BadRequest("Currently not allowed to create storage volumes of type %q", req.Type)
	case req.ContentType == "block":
		return nil, api.BadRequest("Storage pool %q does not keep volumes of content type %q", pool, req.ContentType)
	case req.ContentType != "" && req.ContentType != contentFilesystem:
		return nil, api.BadRequest("Invalid volume content type name")
	}
	row, ok := s.pools.Get(pool)
	if !ok {
		return nil, errNoPool()
	}
	id := VolumeID{Pool: pool, Project: project, Type: VolumeCustom, Name: req.Name}
	if _, ok := s.volumes.Get(id.path()...); ok && !req.Source.Refresh {
		return nil, api.Conflict("Volume by that name already exists")
	}
	if err := volumeTable.Worded(volumeWords(id)).Validate(req.Config); err != nil {
		return nil, errors.New(err.Error())
	}
	record := volumeRecord{Description: req.Description, Config: withDefaults(row.Value.Config, req.Config)}
	switch req.Source.Type {
	case "":
		return nil, s.makeVolumes(ctx, id, map[VolumeID]*volumeRecord{id: &record}, func(ctx context.Context, d storagedriver.Driver) error {
			return d.CreateVolume(ctx, id.onDisk(), openFolder)
		})
	case "copy":
		return s.copyTask(id, record, req.Source), nil
	}
	return nil, api.BadRequest("Unknown source type %q", req.Source.Type)
}

// makeVolumes makes a custom volume with its snapshots, or one snapshot, under the journal: make does, and the
// records of all that it makes are committed when it is done.
func (s *Service) makeVolumes(ctx context.Context, id VolumeID, records map[VolumeID]*volumeRecord,
	make func(ctx context.Context, d storagedriver.Driver) error) (err error) {
	release, err := s.changes.lock(ctx, id.of().lockName(), true)
	if err != nil {
		return err
	}
	defer release()
	hold, err := s.changes.lock(ctx, "pool "+id.Pool, false) // against the pool being deleted meanwhile
	if err != nil {
		return err
	}
	defer hold()
	d, err := s.driver(ctx, id.Pool)
	if err != nil {
		return err
	}
	if _, ok := s.volumes.Get(id.path()...); ok {
		if id.Snapshot != "" {
			return api.Conflict("Snapshot %q already in use", id.Snapshot)
		}
		return api.Conflict("Volume by that name already exists")
	}
	entry, err := s.Journal.Begin(ctx, kindVolumeCreate, id)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			after := context.WithoutCancel(ctx)
			err = errors.Join(err, d.DeleteVolume(after, id.onDisk()), entry.Close(after))
		}
	}()
	if err := faultVolumeBegun.Hit(); err != nil {
		return err
	}
	if err := make(ctx, d); err != nil {
		return statusOf(err)
	}
	if err := faultVolumeMade.Hit(); err != nil {
		return err
	}
	ops := []store.Op{entry.Done()}
	for v, r := range records {
		ops = append(ops, s.volumes.Create(r, v.path()...))
	}
	if _, err := s.Store.Commit(ctx, ops...); err != nil {
		return err
	}
	action := "storage-volume-created"
	if id.Snapshot != "" {
		action = "storage-volume-snapshot-created"
	}
	s.event(ctx, action, id, map[string]any{"type": string(VolumeCustom)})
	return nil
}

func (s *Service) recoverVolumeCreate(ctx context.Context, data json.RawMessage) error {
	var id VolumeID
	if err := json.Unmarshal(data, &id); err != nil {
		return err
	}
	if _, ok := s.volumes.Get(id.path()...); ok {
		return nil
	}
	return s.Delete(ctx, id)
}

// DeleteVolume deletes a custom volume that nothing uses, or one snapshot.
func (s *Service) DeleteVolume(ctx context.Context, id VolumeID) error {
	if id.Type != VolumeCustom {
		return api.BadRequest("Storage volumes of type %q cannot be deleted with the storage API", id.Type)
	}
	release, err := s.changes.lock(ctx, id.of().lockName(), true)
	if err != nil {
		return err
	}
	defer release()
	if _, _, err := s.Volume(id); err != nil {
		return err
	}
	if len(s.volumeUsers(id)) > 0 {
		return api.BadRequest("The storage volume is still in use")
	}
	entry, err := s.Journal.Begin(ctx, kindVolumeDelete, id)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // from here on there is no way back
	if err := s.Delete(ctx, id); err != nil {
		return errors.Join(err, entry.Close(ctx))
	}
	// What fails from here on leaves the entry: another attempt, or else the next start, forgets the volume.
	if err := faultVolumeDeleted.Hit(); err != nil {
		return err
	}
	if _, err := s.Store.Commit(ctx, append(s.forgetAll(id), entry.Done())...); err != nil {
		return err
	}
	action := "storage-volume-deleted"
	if id.Snapshot != "" {
		action = "storage-volume-snapshot-deleted"
	}
	s.event(ctx, action, id, nil)
	return nil
}

// forgetAll takes a volume and its snapshots out of the list.
func (s *Service) forgetAll(id VolumeID) []store.Op {
	ops := []store.Op{s.Forget(id)}
	if id.Snapshot == "" {
		for _, row := range s.volumes.List(id.path()...) {
			ops = append(ops, s.volumes.Remove(row.Path...))
		}
	}
	return ops
}

func (s *Service) recoverVolumeDelete(ctx context.Context, data json.RawMessage) error {
	var id VolumeID
	if err := json.Unmarshal(data, &id); err != nil {
		return err
	}
	if err := s.Delete(ctx, id); err != nil {
		return err
	}
	_, err := s.Store.Commit(ctx, s.forgetAll(id)...)
	return err
}

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
	release, err := s.changes.lock(ctx, id.of().lockName(), true)
	if err != nil {
		return err
	}
	defer release()
	if _, _, err := s.Volume(id); err != nil {
		return err
	}
	if _, _, err := s.Volume(to); err == nil {
		return api.Conflict("Volume by that name already exists")
	}
	if len(s.volumeUsers(id)) > 0 {
		return api.BadRequest("Volume is still in use by running instances")
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
		_, err = s.Store.Commit(ctx, append(s.moveRecords(id, to), entry.Done())...)
	}
	if err != nil {
		if undo := s.Rename(ctx, to, id); undo != nil && !api.IsNotFound(undo) {
			return errors.Join(err, undo) // the journal keeps the entry: the next start finishes the rename
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

// moveRecords gives the records of a volume with its snapshots, or of one snapshot, another place.
func (s *Service) moveRecords(from, to VolumeID) []store.Op {
	var ops []store.Op
	if row, ok := s.volumes.Get(from.path()...); ok {
		ops = append(ops, s.volumes.Remove(row.Path...), s.volumes.Put(row.Value, to.path()...))
	}
	if from.Snapshot != "" {
		return ops
	}
	for _, row := range s.volumes.List(from.path()...) {
		target := to
		target.Snapshot = idOf(row.Path).Snapshot
		ops = append(ops, s.volumes.Remove(row.Path...), s.volumes.Put(row.Value, target.path()...))
	}
	return ops
}

func (s *Service) recoverVolumeRename(ctx context.Context, data json.RawMessage) error {
	var e renameEntry
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	if _, ok := s.volumes.Get(e.From.path()...); !ok {
		return nil
	}
	if err := s.Rename(ctx, e.From, e.To); err != nil {
		return err
	}
	_, err := s.Store.Commit(ctx, s.moveRecords(e.From, e.To)...)
	return err
}
