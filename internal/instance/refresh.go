package instance

import (
	"context"
	"errors"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/storage"
)

var refreshPoints = newSwapPoints("instance.refresh")

// refreshTask brings an existing copy up to date: its snapshots become those of the source, and so does its content.
func (s *Service) refreshTask(project string, req api.InstancesPost, src *Instance, alone bool) *operation.Task {
	return &operation.Task{
		Description: "Creating instance",
		Resources:   resources(req.Name, src.Name),
		Run: func(ctx context.Context, _ operation.Progress) error {
			return s.refresh(ctx, project, req, src, alone)
		},
	}
}

// refresh checks the final configuration before anything is touched. Snapshots that the source does not have are deleted last.
func (s *Service) refresh(ctx context.Context, project string, req api.InstancesPost, src *Instance, alone bool) error {
	row, release, err := s.hold(ctx, project, req.Name, "refresh", lock.Short, lock.Shared(lock.ForInstance(src.Project, src.Name)))
	if err != nil {
		return err
	}
	defer release()
	dst := row.Value
	source, ok := s.instances.Get(src.Project, src.Name)
	if !ok {
		return api.NotFound("Failed to fetch instance %q in project %q: Instance not found", src.Name, src.Project)
	}
	src = source.Value
	if s.running(dst) {
		return api.BadRequest("Cannot refresh a running instance")
	}
	content, err := s.holdContent(ctx, "refresh", lock.Exclusive(dst.volume().Object()), lock.Shared(src.volume().Object()),
		lock.Shared(lock.ForPool(dst.Pool)), lock.Shared(lock.ForPool(src.Pool)))
	if err != nil {
		return err
	}
	defer content.Release()
	like := s.copyRecord(project, req, src.Body)
	next := func(now *Instance) *Instance { return refreshed(now, like, src) }
	if _, err := s.check(ctx, next(dst), dst); err != nil {
		return err
	}
	var surplus []string
	added := []string{}
	if !alone {
		if surplus, added, err = s.addSnapshots(ctx, dst, src); err != nil {
			return errors.Join(err, s.dropSnapshots(context.WithoutCancel(ctx), dst, added))
		}
	}
	err = (&swap{
		service: s, i: dst, kind: kindRefresh, points: refreshPoints, like: dst.volume(), next: next,
		fill: func(ctx context.Context, stage storage.VolumeID) error {
			thaw, err := s.holdFrozen(ctx, src, src.volume())
			if err != nil {
				return err
			}
			defer thaw()
			return s.Volumes.Copy(ctx, stage, src.volume())
		},
	}).do(ctx)
	if err != nil {
		return errors.Join(err, s.dropSnapshots(context.WithoutCancel(ctx), dst, added))
	}
	return s.dropSnapshots(ctx, dst, surplus)
}

// refreshed is a copy with the configuration that it would be made with now.
func refreshed(dst, like, src *Instance) *Instance {
	next := dst.clone()
	for k := range next.Config {
		if !strings.HasPrefix(k, "volatile.") {
			delete(next.Config, k)
		}
	}
	for k, v := range like.Config {
		if !strings.HasPrefix(k, "volatile.") {
			next.Config[k] = v
		}
	}
	next.owned(&src.Body)
	return next
}

// addSnapshots copies the snapshots that dst lacks, and replaces those that differ. It returns surplus, the snapshots that only
// dst has, and added, those that were copied.
func (s *Service) addSnapshots(ctx context.Context, dst, src *Instance) (surplus, added []string, err error) {
	missing := map[string]*Snapshot{}
	for _, row := range s.snapshots.List(src.Project, src.Name) {
		missing[row.Path[2]] = row.Value
	}
	var replaced []string
	for _, row := range s.snapshots.List(dst.Project, dst.Name) {
		name := row.Path[2]
		switch snap, ok := missing[name]; {
		case !ok:
			surplus = append(surplus, name)
		case snap.CreatedAt.Equal(row.Value.CreatedAt):
			delete(missing, name)
		default:
			replaced = append(replaced, name)
		}
	}
	if err := s.dropSnapshots(ctx, dst, replaced); err != nil {
		return surplus, nil, err
	}
	for name, snap := range missing {
		err := s.addSnapshot(ctx, dst, name, snap, func(ctx context.Context, made storage.VolumeID) error {
			return s.Volumes.Copy(ctx, made, src.snapshotVolume(name))
		}, src.snapshotVolume(name))
		if err != nil {
			return surplus, added, err
		}
		added = append(added, name)
	}
	return surplus, added, nil
}

func (s *Service) dropSnapshots(ctx context.Context, i *Instance, names []string) error {
	var all error
	for _, name := range names {
		all = errors.Join(all, s.deleteSnapshot(ctx, i, name))
	}
	return all
}
