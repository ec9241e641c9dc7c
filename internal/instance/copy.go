package instance

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/storage"
)

var (
	copySnapshot  = fault.New("instance.copy.snapshot")
	refreshBegun  = fault.New("instance.refresh.begun")
	refreshStaged = fault.New("instance.refresh.staged")
)

// createFromCopy makes an instance from another one of this server, or from a snapshot.
func (s *Service) createFromCopy(ctx context.Context, project string, req api.InstancesPost) (*operation.Task, error) {
	if req.Source.Source == "" {
		return nil, api.BadRequest("Must specify a source instance")
	}
	from := defaultProject(req.Source.Project)
	if req.Source.Project == "" {
		from = project
	}
	name, snapshot, isSnapshot := strings.Cut(req.Source.Source, "/")
	src, i, volume, err := s.lookAtSource(project, req, from, name, snapshot)
	if err != nil {
		return nil, err
	}
	alone := isSnapshot || req.Source.InstanceOnly || req.Source.ContainerOnly
	if req.Source.Refresh && !isSnapshot {
		if _, exists := s.instances.Get(project, req.Name); exists {
			return s.refreshTask(project, req.Name, src, i, alone), nil
		}
	}
	o := origin{also: []string{req.Source.Source}, sources: []lock.Want{lock.Shared(volume.Object()), lock.Shared(lock.ForPool(volume.Pool))}}
	o.look = func(i *Instance, o *origin) error {
		src, next, volume, err := s.lookAtSource(project, req, from, name, snapshot)
		if err != nil {
			return err
		}
		if volume.Object() != o.sources[0].Object {
			return api.Conflict("Instance %q was moved meanwhile", name)
		}
		next.UUID = i.UUID
		*i = *next
		o.like = volume
		if !alone {
			for _, row := range s.snapshots.List(from, name) {
				o.snaps = append(o.snaps, snapshotCopy{name: row.Path[2], record: row.Value.ofCopy(), like: src.snapshotVolume(row.Path[2])})
			}
		}
		o.fill = func(ctx context.Context, _ operation.Progress) error {
			return s.copyVolumes(ctx, i, src, volume, o.snaps)
		}
		return nil
	}
	return s.createTask(ctx, i, o)
}

// lookAtSource reads what is to be copied, an instance or a snapshot of one: whose it is, the new instance that it gives, and
// the volume.
func (s *Service) lookAtSource(project string, req api.InstancesPost, from, name, snapshot string) (src, i *Instance, volume storage.VolumeID, err error) {
	row, ok := s.instances.Get(from, name)
	if !ok {
		return nil, nil, volume, api.NotFound("Failed to fetch instance %q in project %q: Instance not found", name, from)
	}
	src, body := row.Value, row.Value.Body
	volume = src.volume()
	if snapshot != "" {
		snap, err := s.getSnapshot(from, name, snapshot)
		if err != nil {
			return nil, nil, volume, err
		}
		body, volume = snap.Value.body(), src.snapshotVolume(snapshot)
	}
	return src, s.copyRecord(project, req, body), volume, nil
}

// copyRecord merges a request over what is copied. Volatile keys stay behind: they belong to the original.
func (s *Service) copyRecord(project string, req api.InstancesPost, body Body) *Instance {
	c := map[string]string{}
	for k, v := range body.Config {
		if !strings.HasPrefix(k, "volatile.") {
			c[k] = v
		}
	}
	if base := body.Config["volatile.base_image"]; base != "" {
		c["volatile.base_image"] = base
	}
	for k, v := range req.Config {
		if !strings.HasPrefix(k, "volatile.") {
			c[k] = v
		}
	}
	c["volatile.apply_template"] = "copy"
	devices := fromDevices(body.Devices)
	maps.Copy(devices, req.Devices)
	req.Config, req.Devices = c, devices
	if req.Architecture == "" {
		req.Architecture = body.Architecture
	}
	if req.Description == "" {
		req.Description = body.Description
	}
	i := s.newInstance(project, req)
	i.owned(&body)
	return i
}

// copyVolumes copies a root volume and snapshots, the source holding still meanwhile.
func (s *Service) copyVolumes(ctx context.Context, dst, src *Instance, from storage.VolumeID, snaps []snapshotCopy) error {
	release, err := s.holdStill(ctx, src, from)
	if err != nil {
		return err
	}
	defer release()
	if err := s.Volumes.Copy(ctx, dst.volume(), from); err != nil {
		return err
	}
	release()
	for _, snap := range snaps {
		if err := copySnapshot.Hit(); err != nil {
			return err
		}
		if err := s.Volumes.Copy(ctx, dst.snapshotOf(snap.name, snap.record), src.snapshotVolume(snap.name)); err != nil {
			return err
		}
	}
	return nil
}

// refreshTask brings an existing copy up to date: its snapshots become those of the source, and so does its content.
func (s *Service) refreshTask(project, name string, src, next *Instance, alone bool) *operation.Task {
	return &operation.Task{
		Description: "Creating instance",
		Resources:   resources(name, src.Name),
		Run: func(ctx context.Context, _ operation.Progress) error {
			return s.refresh(ctx, project, name, src, next, alone)
		},
	}
}

func (s *Service) refresh(ctx context.Context, project, name string, src, next *Instance, alone bool) (err error) {
	row, release, err := s.hold(ctx, project, name, "refresh", lock.Short)
	if err != nil {
		return err
	}
	defer release()
	dst := row.Value
	if s.Runtime.Status(dst.id()) != api.Stopped {
		return api.BadRequest("Cannot refresh a running instance")
	}
	if !alone {
		if err := s.refreshSnapshots(ctx, dst, src); err != nil {
			return err
		}
	}
	stage := dst.snapshotVolume(".refresh-" + uuid.NewString())
	entry, err := s.Journal.Begin(ctx, kindRefresh, change{Project: project, Name: name, Pool: dst.Pool, Snapshot: stage.Snapshot})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := detached(ctx)
		defer cancel()
		err = errors.Join(err, s.Volumes.Delete(ctx, stage))
		if err == nil || !errors.Is(err, context.Canceled) {
			err = errors.Join(err, entry.Close(ctx))
		}
	}()
	if err := refreshBegun.Hit(); err != nil {
		return err
	}
	thaw, err := s.holdStill(ctx, src, src.volume())
	if err != nil {
		return err
	}
	defer thaw()
	if err := s.Volumes.Copy(ctx, stage, src.volume()); err != nil {
		return err
	}
	thaw()
	if err := refreshStaged.Hit(); err != nil {
		return err
	}
	if err := s.Volumes.Restore(ctx, stage); err != nil {
		return err
	}
	return s.modify(ctx, project, name, func(i *Instance) error {
		for k := range i.Config {
			if !strings.HasPrefix(k, "volatile.") {
				delete(i.Config, k)
			}
		}
		for k, v := range next.Config {
			if !strings.HasPrefix(k, "volatile.") {
				i.Config[k] = v
			}
		}
		i.owned(&src.Body)
		_, err := s.check(ctx, i, dst)
		return err
	})
}

// undoRefresh removes the staged copy; the content is either the old one or, wholly, the new one.
func (s *Service) undoRefresh(ctx context.Context, c change) error {
	return s.Volumes.Delete(ctx, c.instance().snapshotVolume(c.Snapshot))
}

// refreshSnapshots deletes the snapshots that the source does not have (any more) and copies those that are missing.
func (s *Service) refreshSnapshots(ctx context.Context, dst, src *Instance) error {
	theirs := map[string]*Snapshot{}
	for _, row := range s.snapshots.List(src.Project, src.Name) {
		theirs[row.Path[2]] = row.Value
	}
	for _, row := range s.snapshots.List(dst.Project, dst.Name) {
		snap, ok := theirs[row.Path[2]]
		if ok && snap.CreatedAt.Equal(row.Value.CreatedAt) {
			delete(theirs, row.Path[2])
			continue
		}
		if err := s.deleteSnapshot(ctx, dst, row.Path[2]); err != nil {
			return err
		}
	}
	for name, snap := range theirs {
		err := s.addSnapshot(ctx, dst, name, snap, func(ctx context.Context, made storage.VolumeID) error {
			return s.Volumes.Copy(ctx, made, src.snapshotVolume(name))
		}, src.snapshotVolume(name))
		if err != nil {
			return err
		}
	}
	return nil
}
