package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/date"
	"github.com/berthd/berth/internal/expiry"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/snapname"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

var (
	snapBegun  = fault.New("instance.snapshot.create.begun")
	snapVolume = fault.New("instance.snapshot.create.volume")
	snapLinked = fault.New("instance.snapshot.create.linked")

	snapDelBegun  = fault.New("instance.snapshot.delete.begun")
	snapDelVolume = fault.New("instance.snapshot.delete.volume")

	snapRenBegun  = fault.New("instance.snapshot.rename.begun")
	snapRenVolume = fault.New("instance.snapshot.rename.volume")
)

// CreateSnapshot checks a request for a snapshot and returns the work.
func (s *Service) CreateSnapshot(ctx context.Context, project, name string, req api.InstanceSnapshotsPost) (*operation.Task, error) {
	row, err := s.get(project, name)
	if err != nil {
		return nil, err
	}
	if err := s.allowSnapshot(project); err != nil {
		return nil, err
	}
	c, _ := expand(s.Profiles, project, &row.Value.Body)
	unnamed := req.Name == ""
	if err := s.nameSnapshot(ctx, project, name, &req, c); err != nil {
		return nil, err
	}
	return &operation.Task{
		Description: "Snapshotting instance",
		Resources:   resources(name),
		Run: func(ctx context.Context, _ operation.Progress) error {
			if unnamed {
				req.Name = ""
			}
			return s.snapshot(ctx, project, name, req)
		},
	}, nil
}

// nameSnapshot gives a snapshot that the request does not name a name by the pattern of the configuration c.
func (s *Service) nameSnapshot(ctx context.Context, project, name string, req *api.InstanceSnapshotsPost, c map[string]string) (err error) {
	if req.Name == "" {
		if req.Name, err = s.nextSnapshotName(ctx, project, name, Keys.Get(c, "snapshots.pattern")); err != nil {
			return err
		}
	}
	return checkSnapshotName(req.Name)
}

func (s *Service) snapshot(ctx context.Context, project, name string, req api.InstanceSnapshotsPost) error {
	row, release, err := s.hold(ctx, project, name, "snapshot", lock.Long)
	if err != nil {
		return err
	}
	defer release()
	i := row.Value
	c, _ := expand(s.Profiles, project, &i.Body)
	if err := s.nameSnapshot(ctx, project, name, &req, c); err != nil { // of those that came at once each has its own
		return err
	}
	if req.Stateful {
		if !s.running(i) {
			return api.BadRequest("Unable to create a stateful snapshot. The instance isn't running")
		}
		return api.BadRequest("Unable to create a stateful snapshot. This server does not keep the state of running instances")
	}
	body := i.Body.clone()
	body.CreatedAt, body.LastUsedAt = time.Now().UTC(), time.Time{}
	snap := newSnapshot(body, time.Time{})
	switch {
	case req.ExpiresAt != nil:
		snap.ExpiresAt = date.UTC(*req.ExpiresAt)
	case c["snapshots.expiry"] != "":
		e, err := expiry.Parse(c["snapshots.expiry"])
		if err != nil {
			return err
		}
		snap.ExpiresAt = e.After(snap.CreatedAt)
	}
	if err := s.addSnapshot(ctx, i, req.Name, snap, s.Volumes.Snapshot, i.volume()); err != nil {
		return err
	}
	s.publish(ctx, project, "instance-snapshot-created", snapshotURL(project, name, req.Name), nil)
	return nil
}

// addSnapshot makes a snapshot of an instance whose lock is held; fill makes its volume, from another one.
func (s *Service) addSnapshot(ctx context.Context, i *Instance, name string, snap *Snapshot,
	fill func(context.Context, storage.VolumeID) error, from storage.VolumeID,
) (err error) {
	if _, exists := s.snapshots.Get(i.Project, i.Name, name); exists {
		return api.Conflict("Failed creating instance snapshot record %q: Add snapshot info to the database: "+
			`This "instances_snapshots" entry already exists`, name)
	}
	if from.Object() != i.volume().Object() {
		snap = snap.ofCopy()
	}
	c := changeOf(i)
	c.Snapshot, c.Volumes = name, []storage.VolumeID{i.snapshotOf(name, snap)}
	entry, err := s.Journal.Begin(ctx, kindSnapshot, c)
	if err != nil {
		return err
	}
	defer func() { err = undoFailed(ctx, err, entry, c, s.undoSnapshot) }()
	if err := snapBegun.Hit(); err != nil {
		return err
	}
	if err := fill(ctx, c.Volumes[0]); err != nil {
		return fmt.Errorf("Create instance snapshot: %w", err)
	}
	if err := snapVolume.Hit(); err != nil {
		return err
	}
	if err := s.linkSnapshots(i, true); err != nil {
		return err
	}
	if err := snapLinked.Hit(); err != nil {
		return err
	}
	_, err = s.Store.Commit(ctx, entry.Done(), s.snapshots.Create(snap, i.Project, i.Name, name),
		s.Volumes.Record(i.snapshotVolume(name), from))
	s.pruner.Changed()
	return err
}

func (s *Service) undoSnapshot(ctx context.Context, c change) error {
	i, ok := s.current(c)
	if row, there := s.snapshots.Get(c.Project, c.Name, c.Snapshot); there && ok && i.snapshotOf(c.Snapshot, row.Value) == c.Volumes[0] {
		return nil // the last commit went through
	}
	if err := s.Volumes.Undo(ctx, c.Volumes...); err != nil || !ok {
		return err
	}
	return s.linkSnapshots(i, len(s.snapshots.List(c.Project, c.Name)) > 0)
}

// DeleteSnapshot returns the work that deletes a snapshot.
func (s *Service) DeleteSnapshot(_ context.Context, project, name, snapshot string) (*operation.Task, error) {
	row, err := s.get(project, name)
	if err != nil {
		return nil, err
	}
	if _, err := s.getSnapshot(project, name, snapshot); err != nil {
		return nil, err
	}
	return &operation.Task{
		Description: "Deleting snapshot",
		Resources:   resources(name + "/" + snapshot),
		Run: func(ctx context.Context, _ operation.Progress) error {
			return s.holdAndDelete(ctx, row.Value.Project, row.Value.Name, snapshot)
		},
	}, nil
}

// holdAndDelete deletes a snapshot as soon as nothing else concerns its instance.
func (s *Service) holdAndDelete(ctx context.Context, project, name, snapshot string) error {
	row, release, err := s.hold(ctx, project, name, "snapshot", lock.Long)
	if err != nil {
		return err
	}
	defer release()
	content, err := s.holdVolume(ctx, "snapshot", lock.Long, row.Value)
	if err != nil {
		return err
	}
	defer content.Release()
	return s.dropSnapshot(ctx, row.Value, snapshot)
}

// dropSnapshot deletes a snapshot; the instance and its volume are held.
func (s *Service) dropSnapshot(ctx context.Context, i *Instance, snapshot string) error {
	if err := s.deleteSnapshot(ctx, i, snapshot); err != nil {
		return err
	}
	s.publish(ctx, i.Project, "instance-snapshot-deleted", snapshotURL(i.Project, i.Name, snapshot), nil)
	return nil
}

func (s *Service) deleteSnapshot(ctx context.Context, i *Instance, snapshot string) error {
	snap, err := s.getSnapshot(i.Project, i.Name, snapshot)
	if err != nil {
		return err
	}
	c := changeOf(i)
	c.Snapshot, c.Volumes = snapshot, []storage.VolumeID{i.snapshotOf(snapshot, snap.Value)}
	entry, err := s.Journal.Begin(ctx, kindSnapshotDelete, c)
	if err != nil {
		return err
	}
	if err := snapDelBegun.Hit(); err != nil {
		return errors.Join(err, entry.Close(ctx))
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	if err := s.Volumes.Delete(ctx, c.Volumes...); err != nil && !api.IsNotFound(err) {
		if s.kept(ctx, c.Volumes[0], err) {
			return errors.Join(err, entry.Close(ctx))
		}
		entry.Leave(err)
		return err
	}
	if err := s.forgetSnapshot(ctx, c, entry.Done()); err != nil {
		entry.Leave(err)
		return err
	}
	return nil
}

func (s *Service) finishSnapshotDelete(ctx context.Context, c change) error {
	i, ok := s.current(c)
	row, there := s.snapshots.Get(c.Project, c.Name, c.Snapshot)
	if !ok || !there || i.snapshotOf(c.Snapshot, row.Value) != c.Volumes[0] {
		return nil
	}
	if err := s.Volumes.Delete(ctx, c.Volumes...); err != nil && !api.IsNotFound(err) {
		return err
	}
	return s.forgetSnapshot(ctx, c)
}

// forgetSnapshot removes the record of a snapshot whose volume is gone. with is committed with that.
func (s *Service) forgetSnapshot(ctx context.Context, c change, with ...store.Op) error {
	i := &Instance{Project: c.Project, Name: c.Name, Pool: c.Pool, UUID: c.UUID}
	if err := snapDelVolume.Hit(); err != nil {
		return err
	}
	ops := append(with, s.snapshots.Remove(c.Project, c.Name, c.Snapshot), s.Volumes.Forget(i.snapshotVolume(c.Snapshot)))
	if _, err := s.Store.Commit(ctx, ops...); err != nil {
		return err
	}
	return s.linkSnapshots(i, len(s.snapshots.List(c.Project, c.Name)) > 0)
}

// RenameSnapshot returns the work that renames a snapshot.
func (s *Service) RenameSnapshot(_ context.Context, project, name, snapshot string, req api.InstanceSnapshotPost) (*operation.Task, error) {
	row, err := s.get(project, name)
	if err != nil {
		return nil, err
	}
	if _, err := s.getSnapshot(project, name, snapshot); err != nil {
		return nil, err
	}
	if req.Migration {
		return nil, api.NotImplemented("Migration between servers is not supported by this server")
	}
	if _, taken := s.snapshots.Get(project, name, req.Name); taken {
		return nil, api.Conflict("Name '%s/%s' already in use", name, req.Name)
	}
	if err := checkSnapshotName(req.Name); err != nil {
		return nil, err
	}
	return &operation.Task{
		Description: "Renaming snapshot",
		Resources:   resources(name),
		Run: func(ctx context.Context, _ operation.Progress) error {
			l, err := s.acquire(ctx, row.Value.Project, row.Value.Name, "snapshot", lock.Long)
			if err != nil {
				return err
			}
			defer l.Release()
			return s.renameSnapshot(ctx, project, name, snapshot, req.Name)
		},
	}, nil
}

func (s *Service) renameSnapshot(ctx context.Context, project, name, snapshot, newName string) error {
	row, err := s.get(project, name)
	if err != nil {
		return err
	}
	i := row.Value
	content, err := s.holdVolume(ctx, "snapshot", lock.Long, i)
	if err != nil {
		return err
	}
	defer content.Release()
	if err := s.moveSnapshot(ctx, i, snapshot, newName); err != nil {
		return err
	}
	s.publish(ctx, project, "instance-snapshot-renamed", snapshotURL(project, name, newName), map[string]any{"old_name": snapshot})
	return nil
}

// moveSnapshot gives a snapshot another name; the instance and its volume are held.
func (s *Service) moveSnapshot(ctx context.Context, i *Instance, snapshot, newName string) (err error) {
	snap, err := s.getSnapshot(i.Project, i.Name, snapshot)
	if err != nil {
		return err
	}
	c := changeOf(i)
	c.Snapshot, c.NewSnap = snapshot, newName
	c.Volumes = []storage.VolumeID{i.snapshotOf(snapshot, snap.Value), i.snapshotOf(newName, snap.Value)}
	entry, err := s.Journal.Begin(ctx, kindSnapshotRename, c)
	if err != nil {
		return err
	}
	defer func() { err = undoFailed(ctx, err, entry, c, s.undoSnapshotRename) }()
	if err := snapRenBegun.Hit(); err != nil {
		return err
	}
	if err := s.Volumes.Rename(ctx, c.Volumes[0], c.Volumes[1]); err != nil {
		return err
	}
	if err := snapRenVolume.Hit(); err != nil {
		return err
	}
	_, err = s.Store.Commit(ctx, entry.Done(), s.snapshots.Remove(snap.Path...), s.snapshots.Create(snap.Value, i.Project, i.Name, newName),
		s.Volumes.Forget(i.snapshotVolume(snapshot)), s.Volumes.Record(i.snapshotVolume(newName), i.snapshotVolume(snapshot)))
	return err
}

func (s *Service) undoSnapshotRename(ctx context.Context, c change) error {
	i, ok := s.current(c)
	row, there := s.snapshots.Get(c.Project, c.Name, c.Snapshot)
	if !ok || !there || i.snapshotOf(c.Snapshot, row.Value) != c.Volumes[0] {
		return nil // the last commit went through
	}
	return s.Volumes.RenameBack(ctx, c.Volumes[0], c.Volumes[1])
}

// UpdateSnapshot changes what can be changed of a snapshot: when it expires.
// match sees the revision that is about to be replaced (ETag).
func (s *Service) UpdateSnapshot(_ context.Context, project, name, snapshot string, req api.InstanceSnapshotPut,
	match func(store.Revision) error,
) (*operation.Task, error) {
	row, err := s.getSnapshot(project, name, snapshot)
	if err != nil {
		return nil, err
	}
	if err := match(row.Revision); err != nil {
		return nil, err
	}
	return &operation.Task{
		Description: "Updating snapshot",
		Resources:   resources(name + "/" + snapshot),
		Run: func(ctx context.Context, _ operation.Progress) error {
			_, release, err := s.hold(ctx, project, name, "snapshot", lock.Long)
			if err != nil {
				return err
			}
			defer release()
			row, err := s.getSnapshot(project, name, snapshot)
			if err != nil {
				return err
			}
			if err := match(row.Revision); err != nil {
				return err
			}
			next := *row.Value
			next.ExpiresAt = date.UTC(req.ExpiresAt)
			if _, err := s.Store.Commit(ctx, s.snapshots.Replace(row, &next)); err != nil {
				return err
			}
			s.pruner.Changed()
			s.publish(ctx, project, "instance-snapshot-updated", snapshotURL(project, name, snapshot), nil)
			return nil
		},
	}, nil
}

// nextSnapshotName is the next name of an instance's snapshots by a pattern.
func (s *Service) nextSnapshotName(ctx context.Context, project, name, pattern string) (string, error) {
	var taken []string
	for _, row := range s.snapshots.List(project, name) {
		taken = append(taken, row.Path[2])
	}
	return snapname.Next(ctx, pattern, time.Now(), taken)
}
