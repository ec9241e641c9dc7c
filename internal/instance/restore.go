package instance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

var restorePoints = newSwapPoints("instance.restore")

// Restore returns the work that puts an instance back to a snapshot. match sees the revision that is about to be replaced (ETag).
func (s *Service) Restore(_ context.Context, project, name, snapshot string, match func(store.Revision) error) (*operation.Task, error) {
	if _, err := s.get(project, name); err != nil {
		return nil, err
	}
	snapshot = strings.TrimPrefix(snapshot, name+"/")
	return &operation.Task{
		Description: "Restoring snapshot",
		Resources:   resources(name),
		Run: func(ctx context.Context, _ operation.Progress) error {
			return s.restore(ctx, project, name, snapshot, match)
		},
	}, nil
}

func (s *Service) restore(ctx context.Context, project, name, snapshot string, match func(store.Revision) error) error {
	profiles := s.profilesOf(project, name, snapshot)
	given, err := s.holdProfiles(ctx, "restore", project, profiles) // what the snapshot names, nothing else may by now
	if err != nil {
		return err
	}
	defer given.Release()
	row, release, err := s.hold(given.Context(ctx), project, name, "restore", lock.Short)
	if err != nil {
		return err
	}
	defer release()
	if err := match(row.Revision); err != nil {
		return err
	}
	i := row.Value
	snap, ok := s.snapshots.Get(project, name, snapshot)
	switch {
	case !ok:
		return api.NotFound("Snapshot %s/%s does not exist", name, snapshot)
	case !slices.Equal(profiles, s.profilesOf(project, name, snapshot)):
		return api.Conflict("Snapshot %s/%s was replaced meanwhile", name, snapshot)
	}
	back, missing := snap.Value.body(), []string(nil)
	back.Profiles, missing = s.existing(project, back.Profiles)
	_, devices := expand(s.Profiles, i.Project, &i.Body)
	content, err := s.holdUsed(ctx, "restore", restored(i, back), append(s.used(i.Project, devices),
		lock.Exclusive(i.volume().Object()), lock.Exclusive(i.freeze()), lock.Shared(lock.ForPool(i.Pool)))...)
	if err != nil {
		return err
	}
	defer content.Release()
	if err := s.permitted("instance update", restored(i, back)); err != nil {
		return err
	}
	eff, err := s.check(ctx, restored(i, back), i)
	if err != nil {
		return err
	}
	admitted, err := s.admit(ctx, "instance update", i, eff)
	if err != nil {
		return err
	}
	defer admitted()
	_, claimed, err := s.claimIDs(ctx, i, restored(i, back), eff)
	if err != nil {
		return err
	}
	defer claimed()
	wasRunning, before := s.running(i), s.effectiveOf(i)
	changed := diffDevices(before.Devices, eff.Devices)
	err = (&swap{
		service: s, i: i, kind: kindRestore, points: restorePoints, like: i.snapshotVolume(snapshot),
		fill: func(ctx context.Context, stage storage.VolumeID) error {
			if err := s.Volumes.Copy(ctx, stage, i.snapshotVolume(snapshot)); err != nil {
				return fmt.Errorf("Restore snapshot: %w", err)
			}
			return nil
		},
		// If the daemon is killed after this, a network may not know a device; the instance's start registers it again.
		leave: func(ctx context.Context) {
			in := s.deviceInstance(i, before)
			for _, name := range changed.gone {
				s.forgetDevice(ctx, in, name, before.Devices[name], deviceVolatile(i.Config, name))
			}
		},
		next: func(now *Instance) *Instance {
			next := restored(now, back)
			setIDMap(next.Config, eff)
			if wasRunning && now.Ephemeral {
				next.Ephemeral = true // a stop would have taken it away
			}
			return next
		},
	}).do(ctx)
	if now, ok := s.instances.Get(project, name); ok && len(changed.gone)+len(changed.added) > 0 {
		s.deviceAdded(context.WithoutCancel(ctx), now.Value, nil, s.effectiveOf(now.Value))
	}
	if err != nil {
		return err
	}
	warnMissing(ctx, project, name, missing)
	warnHiddenFilters(ctx, project, name, eff.Config)
	s.publish(ctx, project, "instance-restored", url(project, name), map[string]any{"snapshot": snapshot})
	return nil
}

// profilesOf are those that a snapshot names; none if there is no such snapshot.
func (s *Service) profilesOf(project, name, snapshot string) []string {
	row, ok := s.snapshots.Get(project, name, snapshot)
	if !ok {
		return nil
	}
	return row.Value.rest.body.Profiles
}

// restored is an instance with the configuration of a snapshot. It keeps its identity and what describes its present run.
func restored(i *Instance, body Body) *Instance {
	next := i.clone()
	body = body.clone()
	for _, key := range []string{"volatile.uuid", "volatile.last_state.power", "volatile.idmap.current"} {
		delete(body.Config, key)
		if v := i.Config[key]; v != "" {
			body.Config[key] = v
		}
	}
	for key, v := range i.Config {
		if name, ok := addressOf(key); ok && body.Config[key] == "" && (body.Devices[name] != nil || i.Devices[name] == nil) {
			body.Config[key] = v // the snapshot came with a copy, or is older than the NIC that a profile gives
		}
	}
	body.CreatedAt, body.LastUsedAt, body.Type = i.CreatedAt, i.LastUsedAt, i.Type
	next.Body = body
	return next
}
