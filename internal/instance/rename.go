package instance

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

var (
	renameBegun  = fault.New("instance.rename.begun")
	renameVolume = fault.New("instance.rename.volume")
	renameLinks  = fault.New("instance.rename.links")
)

// Post renames an instance or moves it to another pool, and returns the work.
func (s *Service) Post(ctx context.Context, project, name string, req api.InstancePost) (*operation.Task, error) {
	if req.Project != "" && req.Project != project {
		if err := request.Require(ctx, access.CanCreateInstances, access.InProject(req.Project)); err != nil {
			return nil, err
		}
	}
	row, err := s.get(project, name)
	if err != nil {
		return nil, err
	}
	if (req.InstanceOnly || req.ContainerOnly) && len(s.snapshots.List(project, name)) > 0 {
		// What a move leaves behind would be gone.
		return nil, api.BadRequest("Snapshots go with the instance: delete those of %q first, or do not set \"instance_only\"", name)
	}
	if req.Project != "" && req.Project != project {
		return s.moveProjectTask(row.Value, req)
	}
	if req.Migration {
		if req.Pool == "" || req.Target != nil {
			return nil, api.NotImplemented("Migration between servers is not supported by this server")
		}
		return s.moveTask(ctx, row.Value, req)
	}
	if err := s.checkNewName(project, req.Name); err != nil {
		return nil, err
	}
	return &operation.Task{
		Description: "Renaming instance",
		Resources:   resources(name),
		Run: func(ctx context.Context, _ operation.Progress) error {
			return s.rename(ctx, project, name, req.Name)
		},
	}, nil
}

func (s *Service) checkNewName(project, name string) error {
	if _, taken := s.instances.Get(project, name); taken {
		return api.Conflict("Name %q already in use", name)
	}
	if err := s.unshared(project, name); err != nil {
		return err
	}
	return checkName(name)
}

// unshared fails while snapshots of another instance stand under a name that is free: a rename has brought some of them there, and is not taken back
// yet. So whoever has a name has no other snapshots under it than its own.
func (s *Service) unshared(project, name string) error {
	if len(s.snapshots.List(project, name)) > 0 {
		return api.Unavailable("Name %q is in use until the renaming of another instance is taken back", name)
	}
	return nil
}

func errRenameRunning() error { return api.BadRequest("Renaming of running container not allowed") }

func (s *Service) rename(ctx context.Context, project, name, newName string) error {
	if name == newName {
		return s.checkNewName(project, newName)
	}
	row, release, err := s.holdStopped(ctx, project, name, "rename", errRenameRunning().Error(),
		lock.Exclusive(lock.ForInstance(project, newName)))
	if err != nil {
		return err
	}
	defer release()
	content, err := s.holdContent(ctx, "rename", lock.Exclusive(row.Value.volume().Object()))
	if err != nil {
		return err
	}
	defer content.Release()
	if err := s.checkNewName(project, newName); err != nil {
		return err
	}
	return s.renameHeld(ctx, row.Value, newName)
}

// renameHeld gives a stopped instance a name that is free. Both names and the volume are held.
func (s *Service) renameHeld(ctx context.Context, old *Instance, newName string) error {
	next := old.clone()
	next.Name = newName
	setRenamed(old, next)
	if err := s.relocate(ctx, old, next); err != nil {
		return err
	}
	s.publish(ctx, old.Project, "instance-renamed", url(old.Project, newName), map[string]any{"old_name": old.Name})
	return nil
}

// setRenamed has the next start tell the instance that it has another name.
func setRenamed(old, next *Instance) {
	next.Config["volatile.cloud-init.instance-id"] = uuid.NewString()
	next.Config["volatile.apply_template"] = "rename"
	if old.Config["volatile.apply_template"] == "create" {
		// The instance has never been started: its first start must still run the templates for "create".
		next.Config["volatile.apply_template"] = "create"
	}
}

// relocate puts an instance in another place, of its pool: under another name, in another project. Both places and the volume are held. with
// is committed with the record.
func (s *Service) relocate(ctx context.Context, old, next *Instance, with ...store.Op) (err error) {
	c := changeOf(old)
	c.NewProject, c.NewName = next.Project, next.Name
	entry, err := s.Journal.Begin(ctx, kindRename, c)
	if err != nil {
		return err
	}
	defer func() { err = undoFailed(ctx, err, entry, c, s.undoRename) }()
	if err := renameBegun.Hit(); err != nil {
		return err
	}
	defer s.emptyVolume(old)
	s.emptyVolume(old)
	if err := s.Volumes.Rename(ctx, old.volume(), next.volume()); err != nil {
		return fmt.Errorf("Rename instance: %w", err)
	}
	if err := renameVolume.Hit(); err != nil {
		return err
	}
	snapshots := s.snapshots.List(old.Project, old.Name)
	if err := s.relink(old, next, len(snapshots) > 0); err != nil {
		return err
	}
	if err := renameLinks.Hit(); err != nil {
		return err
	}
	s.forgetDevices(ctx, old)
	s.forgetConfinement(old)
	last := append(with, entry.Done(), s.instances.Remove(old.Project, old.Name), s.instances.Create(next, next.Project, next.Name),
		s.Volumes.Forget(old.volume()), s.Volumes.Record(next.volume(), old.volume()))
	if _, err = s.Store.CommitAll(ctx, s.moveSnapshots(old, next), last...); err != nil {
		return err
	}
	s.deviceAdded(ctx, next, nil, s.effectiveOf(next))
	return nil
}

// moveSnapshots gives the records of an instance's snapshots, and of their volumes, to the instance of another name, and moveSnapshotsBack takes that back.
func (s *Service) moveSnapshots(from, to *Instance) []store.Op {
	return s.giveSnapshots(from, to, s.snapshotIn)
}

func (s *Service) moveSnapshotsBack(from, to *Instance) []store.Op {
	return s.giveSnapshots(from, to, s.snapshotBack)
}

func (s *Service) giveSnapshots(from, to *Instance, as func(from, to *Instance, snap *Snapshot) *Snapshot) (ops []store.Op) {
	for _, snap := range s.snapshots.List(from.Project, from.Name) {
		n := snap.Path[2]
		ops = append(ops, s.snapshots.Remove(snap.Path...), s.snapshots.Put(as(from, to, snap.Value), to.Project, to.Name, n),
			s.Volumes.Forget(from.snapshotVolume(n)), s.Volumes.Record(to.snapshotVolume(n), from.snapshotVolume(n)))
	}
	return ops
}

// relink moves the links and logs of an instance to its new name.
func (s *Service) relink(old, next *Instance, snapshots bool) error {
	if err := s.unlinkNames(old.id()); err != nil {
		return err
	}
	if err := s.linkInstance(next); err != nil {
		return err
	}
	if err := s.linkSnapshots(next, snapshots); err != nil {
		return err
	}
	return s.moveLogs(old, next)
}

func (s *Service) moveLogs(from, to *Instance) error {
	err := os.Rename(s.logPath(from.id()), s.logPath(to.id()))
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// inNewPlace is an instance in the place that a change was to bring it to.
func inNewPlace(old *Instance, c change) *Instance {
	next := old.clone()
	next.Name = c.NewName
	if c.NewProject != "" { // earlier versions did not say it
		next.Project = c.NewProject
	}
	return next
}

// undoRename gives everything its old name back, and leaves alone what had the new one before.
func (s *Service) undoRename(ctx context.Context, c change) error {
	old, ok := s.current(c)
	if !ok { // the last commit went through
		return nil
	}
	if err := s.atRest(ctx, old); err != nil {
		return err
	}
	s.emptyVolume(old)
	next := inNewPlace(old, c)
	if err := s.Volumes.RenameBack(ctx, old.volume(), next.volume()); err != nil {
		return err
	}
	if _, taken := s.instances.Get(next.Project, next.Name); !taken { // else what is there is that one's: see unshared
		if _, err := s.Store.CommitAll(ctx, s.moveSnapshotsBack(next, old)); err != nil { // as many of them as had gone
			return err
		}
	}
	if s.isDangling(next) { // this rename made the link: one of another instance leads to a volume
		if err := s.moveLogs(next, old); err != nil {
			return err
		}
	}
	s.deviceAdded(ctx, old, nil, s.effectiveOf(old))
	return errors.Join(s.unlinkLost(next), s.linkInstance(old), s.linkSnapshots(old, len(s.snapshots.List(c.Project, c.Name)) > 0))
}
