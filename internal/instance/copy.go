package instance

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/storage"
)

var copySnapshot = fault.New("instance.copy.snapshot")

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
	// A copy has all that its source has; whose source it may not be is not looked at.
	if err := request.Require(ctx, access.CanManageBackups, access.Object{Entity: access.Instance, Project: from, Name: name}); err != nil {
		return nil, err
	}
	// A refresh changes what is there, and to be told that nothing is takes as much.
	if req.Source.Refresh {
		if err := request.Require(ctx, access.CanEdit, access.Object{Entity: access.Instance, Project: project, Name: req.Name}); err != nil {
			return nil, err
		}
	}
	given := maps.Clone(req.Config)
	src, i, volume, err := s.lookAtSource(project, req, from, name, snapshot)
	if err != nil {
		return nil, err
	}
	if err := s.checkVolatile(project, req.Name, only(src.Config, given), given); err != nil {
		return nil, err
	}
	alone := isSnapshot || req.Source.InstanceOnly || req.Source.ContainerOnly
	if req.Source.Refresh && !isSnapshot {
		if _, exists := s.instances.Get(project, req.Name); exists {
			return s.refreshTask(project, req, src, alone), nil
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
		if err := s.unsettled(from, name, "copy"); err != nil {
			return err
		}
		if !slices.Equal(next.Profiles, i.Profiles) { // they are held
			return api.Conflict("Profiles of %q were made or deleted meanwhile", req.Source.Source)
		}
		next.UUID = i.UUID
		*i = *next
		o.like, o.missing = volume, without(req.Profiles, i.Profiles)
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

// lookAtSource reads what is to be copied, an instance or a snapshot of one. It returns the source instance, the record of the
// new instance, and the volume to copy.
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
	i = s.copyRecord(from, project, req, body)
	if err := s.permitted("instance creation", i); err != nil {
		return nil, nil, volume, err
	}
	return src, i, volume, s.checkNew(project, &body, &i.Body)
}

// copyRecord merges a request over what is copied. Volatile keys stay behind: they belong to the original.
func (s *Service) copyRecord(from, project string, req api.InstancesPost, body Body) *Instance {
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
	req.Architecture = body.Architecture
	if req.Profiles != nil {
		req.Profiles = s.existingOf(from, project, req.Profiles, body.Profiles)
	}
	if req.Description == "" {
		req.Description = body.Description
	}
	i := s.newInstance(project, req)
	i.owned(&body)
	return i
}

// only are the keys of a configuration that another one has, too.
func only(c, of map[string]string) map[string]string {
	kept := map[string]string{}
	for key := range of {
		if v, ok := c[key]; ok {
			kept[key] = v
		}
	}
	return kept
}

// copyVolumes copies a root volume and snapshots. The source is frozen while its root volume is copied.
func (s *Service) copyVolumes(ctx context.Context, dst, src *Instance, from storage.VolumeID, snaps []snapshotCopy) error {
	if err := s.copyRoot(ctx, dst.volume(), src, from); err != nil {
		return err
	}
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
