package instance

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
)

// moveProjectTask checks a move to another project, perhaps to another pool and under another name, and returns the work.
func (s *Service) moveProjectTask(i *Instance, req api.InstancePost) (*operation.Task, error) {
	if req.Target != nil {
		return nil, api.NotImplemented("Migration between servers is not supported by this server")
	}
	if req.Name == "" {
		req.Name = i.Name
	}
	if err := s.checkNewName(req.Project, req.Name); err != nil {
		return nil, err
	}
	if req.Pool != "" {
		if err := s.Volumes.CheckPool(req.Pool); err != nil {
			return nil, err
		}
	}
	return &operation.Task{
		Description: "Migrating instance",
		Resources:   map[string][]string{"instances": {url("", i.Name)}},
		Run: func(ctx context.Context, _ operation.Progress) error {
			return s.moveProject(ctx, i.Project, i.Name, req)
		},
	}, nil
}

// moveProject moves a stopped instance with its snapshots to another project. What that project's profiles, limits and restrictions make of it is
// checked before anything is touched.
func (s *Service) moveProject(ctx context.Context, of, name string, req api.InstancePost) error {
	ctx, letGo, err := s.Projects.Hold(ctx, "move", req.Project)
	if err != nil {
		return fmt.Errorf("Failed loading project %q: %w", req.Project, err)
	}
	defer letGo()
	row, err := s.get(of, name)
	if err != nil {
		return err
	}
	profiles, err := s.holdProfiles(ctx, "move", req.Project, row.Value.Profiles)
	if err != nil {
		return err
	}
	defer profiles.Release()
	named := row.Value.Profiles
	row, release, err := s.holdStopped(profiles.Context(ctx), of, name, "move", "Instance must be stopped to be moved between projects",
		lock.Exclusive(lock.ForInstance(req.Project, req.Name)))
	if err != nil {
		return err
	}
	defer release()
	if err := s.unsettled(of, name, "rename"); err != nil { // as it stays on its pool
		return err
	}
	if !slices.Equal(named, row.Value.Profiles) {
		return api.Conflict("Profiles of %q were changed meanwhile", name)
	}
	if err := s.checkNewName(req.Project, req.Name); err != nil {
		return err
	}
	return s.moveProjectHeld(ctx, row.Value, req)
}

func (s *Service) moveProjectHeld(ctx context.Context, old *Instance, req api.InstancePost) error {
	if req.Pool != "" && req.Pool != old.Pool {
		return api.BadRequest("Instance %q cannot be moved to another storage pool and another project at once: it is on %q", old.Name, old.Pool)
	}
	next := s.inProject(old, req.Project, req.Name)
	content, err := s.holdUsed(ctx, "move", next, lock.Exclusive(old.volume().Object()), lock.Exclusive(next.volume().Object()), lock.Shared(lock.ForPool(old.Pool)))
	if err != nil {
		return err
	}
	defer content.Release()
	if err := s.permitted("instance creation", next); err != nil {
		return err
	}
	eff, err := s.check(ctx, next, next)
	if err != nil {
		return err
	}
	if err := s.checkAdded(ctx, next, s.effectiveOf(old).Devices, eff); err != nil {
		return err
	}
	if len(s.snapshots.List(old.Project, old.Name)) > 0 {
		if err := s.allowSnapshot(next.Project); err != nil {
			return err
		}
	}
	admitted, err := s.admit(ctx, "instance creation", next, eff)
	if err != nil {
		return err
	}
	defer admitted()
	ids, release, err := s.claimIDs(ctx, old, next, eff)
	if err != nil {
		return err
	}
	defer release()
	setIDMap(next.Config, eff)
	if err := s.deviceDefaults(next, eff); err != nil {
		return err
	}
	if err := s.relocate(ctx, old, next, ids...); err != nil {
		return err
	}
	s.publish(ctx, next.Project, "instance-created", url(next.Project, next.Name), map[string]any{"type": string(next.Type), "storage-pool": next.Pool})
	s.publish(ctx, old.Project, "instance-deleted", url(old.Project, old.Name), nil)
	return nil
}

// inProject is an instance as it is in another project. Its root disk stays on its pool, whatever the profiles there say of one.
func (s *Service) inProject(old *Instance, of, name string) *Instance {
	next := old.clone()
	next.Project, next.Name = of, name
	if name != old.Name {
		setRenamed(old, next)
	}
	s.pinRoot(old, next)
	return next
}

// pinRoot gives an instance the root disk that it had elsewhere, where the profiles of its project give it none of its pool. It returns the name of the
// device, if it was needed.
func (s *Service) pinRoot(was, now *Instance) (name string) {
	before, after := s.effectiveOf(was), s.effectiveOf(now)
	if after.Root != "" && after.Devices[after.Root]["pool"] == was.Pool || before.Root == "" {
		return ""
	}
	at := after.Root
	if at == "" {
		at = before.Root
	}
	devices := maps.Clone(now.Devices)
	if devices == nil {
		devices = map[string]device.Config{}
	}
	devices[at] = maps.Clone(before.Devices[before.Root])
	now.Devices = devices
	return at
}

// snapshotIn is a snapshot of an instance as it is once that is in another project: a restore finds its root disk there.
func (s *Service) snapshotIn(from, to *Instance, snap *Snapshot) *Snapshot {
	if from.Project == to.Project {
		return snap
	}
	was := &Instance{Project: from.Project, Name: from.Name, Pool: from.Pool, Body: snap.body()}
	now := *was
	now.Project, now.Name = to.Project, to.Name
	now.Profiles, _ = s.existing(to.Project, was.Profiles)
	pinned := s.pinRoot(was, &now)
	now.Profiles = was.Profiles
	moved := newSnapshot(now.Body, snap.ExpiresAt)
	if pinned != "" {
		moved.rest.pinned = &pinnedRoot{Device: pinned, Was: was.Devices[pinned]}
	}
	return moved
}

// snapshotBack undoes snapshotIn.
func (s *Service) snapshotBack(from, to *Instance, snap *Snapshot) *Snapshot {
	pinned := snap.rest.pinned
	if from.Project == to.Project || pinned == nil {
		return snap
	}
	body := snap.body()
	body.Devices = maps.Clone(body.Devices)
	if pinned.Was == nil {
		delete(body.Devices, pinned.Device)
	} else {
		body.Devices[pinned.Device] = pinned.Was
	}
	return newSnapshot(body, snap.ExpiresAt)
}
