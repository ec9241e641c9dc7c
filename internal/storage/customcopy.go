package storage

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/expiry"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/snapname"
	"github.com/berthd/berth/internal/store"
)

// openFolder lets the users of a custom volume pass through its folder, as LXD does.
func openFolder(_ context.Context, dir string) error { return os.Chmod(dir, 0o711) }

// sourceOf is what a new volume is to be a copy of; by default it is of the same pool and project.
func (s *Service) sourceOf(id VolumeID, src api.StorageVolumeSource) VolumeID {
	from := VolumeID{Pool: src.Pool, Project: id.Project, Type: VolumeCustom}
	if from.Pool == "" {
		from.Pool = id.Pool
	}
	if src.Project != "" {
		from.Project = s.homeOf(VolumeCustom, src.Project)
	}
	from.Name, from.Snapshot, _ = strings.Cut(src.Name, "/")
	return from
}

// copied is the configuration of what a new volume is to be a copy of; nil if it is none.
func (s *Service) copied(id VolumeID, src api.StorageVolumeSource) map[string]string {
	if src.Type != "copy" {
		return nil
	}
	row, ok := s.volumes.Get(s.sourceOf(id, src).path()...)
	if !ok {
		return nil
	}
	return row.Value.Config
}

// copyTask copies a custom volume, with its snapshots unless VolumeOnly is set, or one snapshot of one.
func (s *Service) copyTask(project string, id VolumeID, record volumeRecord, src api.StorageVolumeSource) *operation.Task {
	return &operation.Task{
		Description: "Copying storage volume",
		About:       id.URL(),
		Run: func(ctx context.Context, _ operation.Progress) error {
			ctx, home, letGo, err := s.inProject(ctx, "copy", project)
			if err != nil {
				return err
			}
			defer letGo()
			id.Project = home
			from := s.sourceOf(id, src)
			s.settle(ctx, from)
			release, err := s.hold(ctx, "copy", lock.Exclusive(id.Object()), lock.Shared(from.Object()),
				lock.Shared(lock.ForPool(id.Pool)), lock.Shared(lock.ForPool(from.Pool)))
			if err != nil {
				return err
			}
			defer release()
			if err := s.unsettled(from, kindVolumeCreate); err != nil {
				return err
			}
			return s.copyVolume(ctx, id, from, record, src.VolumeOnly)
		},
	}
}

// copyVolume makes a volume with the content of another or of a snapshot. The caller holds the one exclusively, and the
// other, shared: nobody takes away what is being copied.
func (s *Service) copyVolume(ctx context.Context, id, from VolumeID, record volumeRecord, volumeOnly bool) error {
	if _, ok := s.pools.Get(from.Pool); !ok {
		return errNoPool()
	}
	row, ok := s.volumes.Get(from.path()...)
	if !ok {
		return errNoVolume()
	}
	if record.Description == "" {
		record.Description = row.Value.Description
	}
	record.Config = config.WithoutEmpty(merge(record.Config, row.Value.Config))
	volumes, sources := []newVolume{{id, &record}}, []VolumeID{from}
	if from.Snapshot == "" && !volumeOnly {
		for _, row := range s.volumes.List(from.path()...) {
			source, target := idOf(row.Path), id
			target.Snapshot = source.Snapshot
			copied := *row.Value
			volumes, sources = append(volumes, newVolume{target, &copied}), append(sources, source)
		}
	}
	if len(volumes) > 1 {
		if err := s.Projects.Allows(id.Project, project.SnapshotNeed(id.Project)); err != nil {
			return err
		}
	}
	return s.makeVolumes(ctx, volumes, func(ctx context.Context, _ storagedriver.Driver, made []VolumeID) error {
		for n := range made {
			if err := s.Copy(ctx, made[n], sources[n]); err != nil {
				return err
			}
		}
		return s.applySize(ctx, made[0], record.Config)
	})
}

// MoveVolume moves a custom volume with its snapshots to another pool or project. to names the project that the caller asks for; the volume
// goes where that has its volumes.
func (s *Service) MoveVolume(id, to VolumeID) (*operation.Task, error) {
	if id.Type != VolumeCustom {
		return nil, api.BadRequest("Renaming storage volumes of type %q is not allowed", id.Type)
	}
	if err := checkName(to.Name); err != nil {
		return nil, err
	}
	if _, _, err := s.Volume(id); err != nil {
		return nil, err
	}
	project := to.Project
	if err := s.Projects.Check(project); err != nil { // a volume of a project that there is not is out of everybody's reach
		return nil, api.NotFound("Failed loading project %q: %w", project, err)
	}
	to.Project = s.homeOf(VolumeCustom, project)
	if _, _, err := s.Volume(to); err == nil {
		return nil, api.Conflict("Volume by that name already exists")
	} else if _, ok := s.pools.Get(to.Pool); !ok {
		return nil, err
	}
	if len(s.volumeUsers(id)) > 0 {
		return nil, errInUse()
	}
	return &operation.Task{
		Description: "Moving storage volume",
		About:       to.URL(),
		Run: func(ctx context.Context, _ operation.Progress) error {
			ctx, home, letGo, err := s.inProject(ctx, "move", project)
			if err != nil {
				return err
			}
			defer letGo()
			to.Project = home
			return s.move(ctx, id, to)
		},
	}, nil
}

// move is MoveVolume for a caller that holds the project that the volume goes to.
func (s *Service) move(ctx context.Context, id, to VolumeID) error {
	s.settle(ctx, id)
	release, err := s.hold(ctx, "move", lock.Exclusive(id.Object()), lock.Exclusive(to.Object()),
		lock.Shared(lock.ForPool(id.Pool)), lock.Shared(lock.ForPool(to.Pool)))
	if err != nil {
		return err
	}
	defer release()
	if err := s.unsettled(id, kindVolumeCreate); err != nil {
		return err
	}
	if len(s.volumeUsers(id)) > 0 { // it may have changed since the request was checked
		return errInUse()
	}
	if err := s.copyVolume(ctx, to, id, volumeRecord{}, false); err != nil {
		return err
	}
	if err := syncContent(s.Path(to)); err != nil { // both stay, and either can be removed
		return err
	}
	return s.deleteVolume(ctx, id, kindVolumeCreate)
}

// VolumeSnapshots lists the snapshots of a custom volume.
func (s *Service) VolumeSnapshots(id VolumeID) ([]api.StorageVolumeSnapshot, error) {
	if _, _, err := s.Volume(id); err != nil {
		return nil, err
	}
	list := []api.StorageVolumeSnapshot{}
	for _, row := range s.volumes.List(id.path()...) {
		snap := showSnapshot(idOf(row.Path), row.Value)
		snap.Name = id.Name + "/" + snap.Name
		list = append(list, snap)
	}
	return list, nil
}

// VolumeSnapshot shows one snapshot of a volume.
func (s *Service) VolumeSnapshot(id VolumeID) (*api.StorageVolumeSnapshot, store.Revision, error) {
	if _, _, err := s.Volume(id); err != nil {
		return nil, 0, err
	}
	row, ok := s.volumes.Get(id.path()...)
	if !ok {
		return nil, 0, errNoVolume()
	}
	snap := showSnapshot(id, row.Value)
	return &snap, row.Revision, nil
}

func showSnapshot(id VolumeID, r *volumeRecord) api.StorageVolumeSnapshot {
	expires := r.ExpiresAt
	return api.StorageVolumeSnapshot{
		StorageVolumeSnapshotPut: api.StorageVolumeSnapshotPut{Description: r.Description, ExpiresAt: &expires},
		Name:                     id.Snapshot, Config: merge(r.Config, nil), ContentType: contentFilesystem,
	}
}

// CreateVolumeSnapshot makes a snapshot of a custom volume.
func (s *Service) CreateVolumeSnapshot(id VolumeID, req api.StorageVolumeSnapshotsPost) (*operation.Task, error) {
	if id.Type != VolumeCustom {
		return nil, api.BadRequest("Invalid storage volume type %q", id.Type)
	}
	if err := s.Projects.Allows(id.Project, project.SnapshotNeed(id.Project)); err != nil {
		return nil, err
	}
	if strings.Contains(req.Name, "/") {
		return nil, api.BadRequest("Storage name cannot contain \"/\"")
	}
	row, ok := s.volumes.Get(id.path()...)
	if _, _, err := s.Volume(id); err != nil || !ok {
		return nil, err
	}
	id.Snapshot = req.Name
	if id.Snapshot == "" {
		name, err := s.nextSnapshot(context.Background(), id.of(), row.Value.Config["snapshots.pattern"])
		if err != nil {
			return nil, err
		}
		id.Snapshot = name
	}
	if err := checkName(id.Snapshot); err != nil {
		return nil, err
	}
	if _, ok := s.volumes.Get(id.path()...); ok {
		return nil, api.Conflict("Snapshot %q already in use", id.Snapshot)
	}
	return &operation.Task{
		Description: "Creating storage volume snapshot",
		About:       id.URL(),
		Resources:   map[string][]string{"storage_volumes": {"/1.0/storage_volumes/" + id.Name}},
		Run: func(ctx context.Context, _ operation.Progress) error {
			release, err := s.holdSettled(ctx, "snapshot", id.of(), lock.Exclusive(id.Object()), lock.Shared(lock.ForPool(id.Pool)))
			if err != nil {
				return err
			}
			defer release()
			row, ok := s.volumes.Get(id.of().path()...) // it is kept as it is now, whenever that was asked for
			if _, _, err := s.Volume(id.of()); err != nil || !ok {
				return err
			}
			if req.Name == "" { // another may have come meanwhile
				if id.Snapshot, err = s.nextSnapshot(ctx, id.of(), row.Value.Config["snapshots.pattern"]); err != nil {
					return err
				}
				if err := checkName(id.Snapshot); err != nil {
					return err
				}
			}
			return s.makeVolumes(ctx, []newVolume{{id, snapshotRecord(row.Value, req.ExpiresAt)}}, func(ctx context.Context, d storagedriver.Driver, made []VolumeID) error {
				return d.CreateSnapshot(s.paced(ctx, id.Pool), made[0].onDisk())
			})
		},
	}, nil
}

// snapshotRecord is the record of a snapshot that is made of a volume now. It expires at the time given, or when the volume's
// configuration says.
func snapshotRecord(volume *volumeRecord, expires *time.Time) *volumeRecord {
	record := &volumeRecord{Description: volume.Description, Config: volume.Config}
	if expires != nil {
		record.ExpiresAt = *expires
	} else if age, err := expiry.Parse(volume.Config["snapshots.expiry"]); err == nil {
		record.ExpiresAt = age.After(time.Now().UTC())
	}
	return record
}

// nextSnapshot is the next name of a volume's snapshots by a pattern; "" is snap%d.
func (s *Service) nextSnapshot(ctx context.Context, id VolumeID, pattern string) (string, error) {
	if pattern == "" {
		pattern = "snap%d"
	}
	var taken []string
	for _, row := range s.volumes.List(id.path()...) {
		taken = append(taken, idOf(row.Path).Snapshot)
	}
	return snapname.Next(ctx, pattern, time.Now(), taken)
}

// snapshotTask wraps a change of one snapshot, as the API wants it, into an operation.
func (s *Service) snapshotTask(id VolumeID, description string, run func(ctx context.Context) error) (*operation.Task, error) {
	if _, _, err := s.Volume(id); err != nil {
		return nil, err
	}
	return &operation.Task{
		Description: description,
		Resources:   map[string][]string{"storage_volume_snapshots": {"/1.0/storage_volume_snapshots/" + id.Name}},
		Run:         func(ctx context.Context, _ operation.Progress) error { return run(ctx) },
	}, nil
}

// RenameVolumeSnapshot renames a snapshot of a custom volume.
func (s *Service) RenameVolumeSnapshot(id VolumeID, name string) (*operation.Task, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	return s.snapshotTask(id, "Renaming storage volume snapshot", func(ctx context.Context) error {
		return s.RenameVolume(ctx, id, name)
	})
}

// DeleteVolumeSnapshot deletes a snapshot of a custom volume.
func (s *Service) DeleteVolumeSnapshot(id VolumeID) (*operation.Task, error) {
	return s.snapshotTask(id, "Deleting storage volume snapshot", func(ctx context.Context) error {
		return s.DeleteVolume(ctx, id)
	})
}

// UpdateVolumeSnapshot changes a snapshot's description and expiry: edit gets what they are when nobody else changes them, and match the version
// that is.
func (s *Service) UpdateVolumeSnapshot(ctx context.Context, id VolumeID, edit func(*api.StorageVolumeSnapshotPut) error, match func(store.Revision) error) error {
	release, err := s.holdSettled(ctx, "update", id, lock.Exclusive(id.Object()))
	if err != nil {
		return err
	}
	defer release()
	if _, _, err := s.Volume(id); err != nil {
		return err
	}
	row, ok := s.volumes.Get(id.path()...)
	if !ok {
		return errNoVolume()
	}
	if err := match(row.Revision); err != nil {
		return err
	}
	put := showSnapshot(id, row.Value).StorageVolumeSnapshotPut
	if err := edit(&put); err != nil {
		return err
	}
	next := *row.Value
	next.Description = put.Description
	next.ExpiresAt = time.Time{}
	if put.ExpiresAt != nil {
		next.ExpiresAt = *put.ExpiresAt
	}
	if _, err := s.Store.Commit(ctx, s.volumes.Replace(row, &next)); err != nil {
		return err
	}
	s.pruner.Changed()
	s.event(ctx, "storage-volume-snapshot-updated", id, nil)
	return nil
}

// inUse tells whether something that runs has a custom volume. What is mounted is not all: a pool that was away when this daemon started holds
// volumes that guests have from the daemon before.
func (s *Service) inUse(id VolumeID) bool {
	if s.VolumeRuns != nil && s.VolumeRuns(id) {
		return true
	}
	if len(s.volumeUsers(id)) == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mounts[id] > 0
}

// restoreCustom gives a custom volume the content of its snapshot; the caller holds its lock.
func (s *Service) restoreCustom(ctx context.Context, id VolumeID, snapshot string) error {
	if id.Type != VolumeCustom {
		return api.BadRequest("Invalid storage volume type %q", id.Type)
	}
	snap := id
	snap.Snapshot = snapshot
	if _, ok := s.volumes.Get(snap.path()...); !ok {
		return errors.New("Snapshot not found") // a 500 in LXD too
	}
	// No instance that starts meanwhile may be given the folder that is about to go.
	release, err := s.hold(ctx, "restore", lock.Exclusive(lock.Of(lock.Mount, id.path()...)))
	if err != nil {
		return err
	}
	defer release()
	if s.inUse(id) {
		return api.BadRequest("Cannot restore custom volume used by running instances")
	}
	if err := s.Restore(ctx, snap); err != nil {
		return err
	}
	if row, ok := s.volumes.Get(id.path()...); ok { // the content is another tree now
		if err := s.applySize(ctx, id, row.Value.Config); err != nil {
			return err
		}
	}
	s.event(ctx, "storage-volume-restored", id, map[string]any{"snapshot": snapshot})
	return nil
}
