package storage

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
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
	case strings.ContainsFunc(name, unicode.IsSpace):
		return api.BadRequest("Storage name cannot contain white space")
	case name == "." || name == ".." || len(name) > 180 || strings.ContainsFunc(name, unicode.IsControl):
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
	id := s.custom(pool, project, req.Name)
	if _, ok := s.volumes.Get(id.path()...); ok && !req.Source.Refresh {
		return nil, api.Conflict("Volume by that name already exists")
	}
	if err := volumeTable.Worded(volumeWords(id)).Validate(req.Config); err != nil {
		return nil, errors.New(err.Error())
	}
	if err := volumeTable.CheckSupported(s.copied(id, req.Source), req.Config); err != nil {
		return nil, err
	}
	record := &volumeRecord{Description: req.Description, Config: withDefaults(row.Value.Config, req.Config)}
	switch req.Source.Type {
	case "":
		return nil, s.createEmpty(ctx, project, id, record)
	case "copy":
		return s.copyTask(project, id, *record, req.Source), nil
	}
	return nil, api.BadRequest("Unknown source type %q", req.Source.Type)
}

// createEmpty makes a custom volume with nothing in it, in a project as it is by then.
func (s *Service) createEmpty(ctx context.Context, project string, id VolumeID, record *volumeRecord) error {
	ctx, home, letGo, err := s.inProject(ctx, "create", project)
	if err != nil {
		return err
	}
	defer letGo()
	id.Project = home
	release, err := s.hold(ctx, "create", lock.Exclusive(id.Object()), lock.Shared(lock.ForPool(id.Pool)))
	if err != nil {
		return err
	}
	defer release()
	return s.makeVolumes(ctx, []newVolume{{id, record}}, func(ctx context.Context, d storagedriver.Driver, made []VolumeID) error {
		if err := d.CreateVolume(ctx, made[0].onDisk(), openFolder); err != nil {
			return err
		}
		return s.applySize(ctx, made[0], record.Config)
	})
}

// newVolume is a custom volume, or a snapshot of one, that is about to be made.
type newVolume struct {
	id     VolumeID
	record *volumeRecord
}

// makeVolumes makes a custom volume with its snapshots, or one snapshot, under the journal. The first of them is what the
// caller asked for. fill makes them on disk, with the identities they get here; their records are committed when it is
// done. The caller holds the volume exclusively and its pool shared.
func (s *Service) makeVolumes(ctx context.Context, volumes []newVolume,
	fill func(ctx context.Context, d storagedriver.Driver, made []VolumeID) error) (err error) {
	id := volumes[0].id
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
	if err := s.unshared(id); err != nil {
		return err
	}
	admitted, err := s.admit(ctx, "volume creation", id, volumes[0].record.Config)
	if err != nil {
		return err
	}
	defer admitted()
	made := make([]VolumeID, len(volumes))
	for n, v := range volumes {
		v.record.UUID = uuid.NewString()
		made[n] = v.id
		made[n].UUID = v.record.UUID
	}
	entry, err := s.Journal.Begin(ctx, kindVolumeCreate, made)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			after := context.WithoutCancel(ctx)
			if undone := s.undoVolumes(after, made); undone != nil {
				entry.Leave(undone)
				err = errors.Join(err, undone)
				return
			}
			err = errors.Join(err, entry.Close(after))
		}
	}()
	if err := faultVolumeBegun.Hit(); err != nil {
		return err
	}
	if err := fill(ctx, d, made); err != nil {
		return statusOf(err)
	}
	if err := faultVolumeMade.Hit(); err != nil {
		return err
	}
	var ops []store.Op
	for _, v := range volumes[1:] {
		ops = append(ops, s.volumes.Put(v.record, v.id.path()...))
	}
	if _, err := s.Store.CommitAll(ctx, ops, entry.Done(), s.volumes.Create(volumes[0].record, id.path()...)); err != nil {
		return err
	}
	s.pruner.Changed()
	action := "storage-volume-created"
	if id.Snapshot != "" {
		action = "storage-volume-snapshot-created"
	}
	s.event(ctx, action, id, map[string]any{"type": string(VolumeCustom)})
	return nil
}

// recoverVolumeCreate removes what a creation that was cut off has made, unless its last commit went through.
func (s *Service) recoverVolumeCreate(ctx context.Context, data json.RawMessage) error {
	var made []VolumeID
	if err := json.Unmarshal(data, &made); err != nil {
		return err
	}
	if len(made) == 0 || s.known(made[0]) {
		return nil
	}
	return s.undoVolumes(ctx, made)
}

// undoVolumes takes back volumes whose creation did not get to its last commit, and as many of their records as there are.
func (s *Service) undoVolumes(ctx context.Context, made []VolumeID) error {
	if err := s.Undo(ctx, made...); err != nil {
		return err
	}
	_, err := s.Store.CommitAll(ctx, s.forgetAll(made))
	return err
}

// known tells whether the store has a volume or snapshot of this identity.
func (s *Service) known(v VolumeID) bool {
	row, ok := s.volumes.Get(v.path()...)
	return ok && row.Value.UUID == v.UUID
}

// identified lists a volume and its snapshots, or one snapshot, with the identities that the store has of them.
func (s *Service) identified(id VolumeID) []VolumeID {
	var all []VolumeID
	if row, ok := s.volumes.Get(id.path()...); ok {
		id.UUID = row.Value.UUID
		all = append(all, id)
	}
	if id.Snapshot != "" {
		return all
	}
	for _, row := range s.volumes.List(id.path()...) {
		snap := idOf(row.Path)
		snap.UUID = row.Value.UUID
		all = append(all, snap)
	}
	return all
}
