package instance

import (
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"

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
	row, release, err := s.holdStopped(ctx, project, req.Name, "refresh", "Cannot refresh a running instance",
		lock.Shared(lock.ForInstance(src.Project, src.Name)))
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
	if err := s.unsettled(src.Project, src.Name, "copy"); err != nil {
		return err
	}
	content, err := s.holdContent(ctx, "refresh", lock.Exclusive(dst.volume().Object()), lock.Shared(src.volume().Object()),
		lock.Shared(lock.ForPool(dst.Pool)), lock.Shared(lock.ForPool(src.Pool)))
	if err != nil {
		return err
	}
	defer content.Release()
	like := s.copyRecord(src.Project, project, req, src.Body)
	next := func(now *Instance) *Instance { return refreshed(now, like, src) }
	if err := s.permitted("instance update", next(dst)); err != nil {
		return err
	}
	eff, err := s.check(ctx, next(dst), dst)
	if err != nil {
		return err
	}
	unasked := req
	unasked.Config = nil
	if err := s.checkNew(project, &refreshed(dst, s.copyRecord(src.Project, project, unasked, src.Body), src).Body, &next(dst).Body); err != nil {
		return err
	}
	admitted, err := s.admit(ctx, "instance update", dst, eff)
	if err != nil {
		return err
	}
	defer admitted()
	var snaps refreshedSnapshots
	if !alone && len(s.snapshots.List(src.Project, src.Name)) > 0 {
		if err := s.allowSnapshot(dst.Project); err != nil {
			return err
		}
	}
	if !alone {
		if snaps, err = s.addSnapshots(ctx, dst, src); err != nil {
			return errors.Join(err, s.dropSnapshots(context.WithoutCancel(ctx), dst, snaps.added))
		}
	}
	err = (&swap{
		service: s, i: dst, kind: kindRefresh, points: refreshPoints, like: dst.volume(), next: next,
		fill: func(ctx context.Context, stage storage.VolumeID) error {
			return s.copyRoot(ctx, stage, src, src.volume())
		},
	}).do(ctx)
	if err != nil {
		return errors.Join(err, s.dropSnapshots(context.WithoutCancel(ctx), dst, snaps.added))
	}
	return errors.Join(s.replaceSnapshots(ctx, dst, snaps.replaced), s.dropSnapshots(ctx, dst, snaps.surplus))
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

// refreshedSnapshots are the snapshots of a copy that is being refreshed.
type refreshedSnapshots struct {
	added    []string          // those that it lacked, under whatever names
	replaced map[string]string // of these, those that another one of the copy must make way for, by its name
	surplus  []string          // those that the source has not
}

// addSnapshots copies the snapshots that the copy lacks. Where it has another one of the same name the old one stays until the content
// is refreshed too; the new one waits under a name that no client would choose.
func (s *Service) addSnapshots(ctx context.Context, dst, src *Instance) (refreshedSnapshots, error) {
	snaps := refreshedSnapshots{replaced: map[string]string{}}
	missing := map[string]*Snapshot{}
	for _, row := range s.snapshots.List(src.Project, src.Name) {
		missing[row.Path[2]] = row.Value
	}
	for _, row := range s.snapshots.List(dst.Project, dst.Name) {
		name := row.Path[2]
		switch snap, ok := missing[name]; {
		case !ok:
			snaps.surplus = append(snaps.surplus, name)
		case snap.CreatedAt.Equal(row.Value.CreatedAt):
			delete(missing, name)
		default:
			snaps.replaced[name] = "refresh-" + uuid.NewString()
		}
	}
	for name, snap := range missing {
		as := name
		if waiting, ok := snaps.replaced[name]; ok {
			as = waiting
		}
		err := s.addSnapshot(ctx, dst, as, snap, func(ctx context.Context, made storage.VolumeID) error {
			return s.Volumes.Copy(ctx, made, src.snapshotVolume(name))
		}, src.snapshotVolume(name))
		if err != nil {
			return snaps, err
		}
		snaps.added = append(snaps.added, as)
	}
	return snaps, nil
}

// replaceSnapshots puts snapshots that wait into the places of older ones. One that a kill leaves waiting is whole, and surplus to
// the next refresh.
func (s *Service) replaceSnapshots(ctx context.Context, dst *Instance, waiting map[string]string) error {
	var all error
	for name, as := range waiting {
		err := s.deleteSnapshot(ctx, dst, name)
		if err == nil {
			err = s.moveSnapshot(ctx, dst, as, name)
		}
		all = errors.Join(all, err)
	}
	return all
}

func (s *Service) dropSnapshots(ctx context.Context, i *Instance, names []string) error {
	var all error
	for _, name := range names {
		all = errors.Join(all, s.deleteSnapshot(ctx, i, name))
	}
	return all
}
