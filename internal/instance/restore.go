package instance

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

var (
	restoreBegun  = fault.New("instance.restore.begun")
	restoreVolume = fault.New("instance.restore.volume")
)

// Restore returns the work that puts an instance back to a snapshot.
func (s *Service) Restore(_ context.Context, project, name, snapshot string) (*operation.Task, error) {
	if _, err := s.get(project, name); err != nil {
		return nil, err
	}
	snapshot = strings.TrimPrefix(snapshot, name+"/")
	return &operation.Task{
		Description: "Restoring snapshot",
		Resources:   resources(name),
		Run: func(ctx context.Context, _ operation.Progress) error {
			return s.restore(ctx, project, name, snapshot)
		},
	}, nil
}

func (s *Service) restore(ctx context.Context, project, name, snapshot string) error {
	row, release, err := s.hold(ctx, project, name, "restore", lock.Short)
	if err != nil {
		return err
	}
	defer release()
	i := row.Value
	snap, ok := s.snapshots.Get(project, name, snapshot)
	if !ok {
		return api.NotFound("Snapshot %s/%s does not exist", name, snapshot)
	}
	next := restored(i, snap.Value)
	eff, err := s.check(ctx, next, i)
	if err != nil {
		return err
	}
	setIDMap(next.Config, eff)
	wasRunning := s.running(i)
	if wasRunning {
		if i.Ephemeral {
			// A stop would take it away.
			next.Ephemeral = i.Ephemeral
		}
		if err := s.halt(ctx, i, true, 0, false); err != nil {
			return err
		}
		if row, err = s.get(project, name); err != nil {
			return err
		}
		next = restored(row.Value, snap.Value)
		setIDMap(next.Config, eff)
	}
	c := change{Project: project, Name: name, Pool: i.Pool, Snapshot: snapshot}
	entry, err := s.Journal.Begin(ctx, kindRestore, c)
	if err != nil {
		return err
	}
	if err := restoreBegun.Hit(); err != nil {
		return errors.Join(err, entry.Close(ctx))
	}
	if err := s.Volumes.Restore(ctx, i.snapshotVolume(snapshot)); err != nil {
		return errors.Join(fmt.Errorf("Restore snapshot: %w", err), entry.Close(ctx))
	}
	if err := restoreVolume.Hit(); err != nil {
		return errors.Join(err, s.keepRestored(ctx, next, snapshot, entry.Done()))
	}
	if err := s.keepRestored(ctx, next, snapshot, entry.Done()); err != nil {
		// To do it again at the next start would take what has been written by then.
		return errors.Join(err, entry.Close(context.WithoutCancel(ctx)))
	}
	s.publish(ctx, project, "instance-restored", url(name), map[string]any{"snapshot": snapshot})
	if !wasRunning {
		return nil
	}
	if row, err = s.get(project, name); err != nil {
		return err
	}
	return s.start(ctx, row.Value)
}

// restored is an instance as a snapshot remembers it. What says who and where it is stays.
func restored(i *Instance, snap *Snapshot) *Instance {
	next := i.clone()
	body := snap.body().clone()
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

// keepRestored keeps what the snapshot said of the instance and of its volume.
func (s *Service) keepRestored(ctx context.Context, next *Instance, snapshot string, with ...store.Op) error {
	with = append(with, s.Volumes.Record(next.volume(), next.snapshotVolume(snapshot)))
	return s.modify(ctx, next.Project, next.Name, func(i *Instance) error {
		i.Body = next.Body
		return nil
	}, with...)
}

// finishRestore does a cut-off restore again: the content may be the snapshot's already.
func (s *Service) finishRestore(ctx context.Context, c change) error {
	row, ok := s.instances.Get(c.Project, c.Name)
	snap, whole := s.snapshots.Get(c.Project, c.Name, c.Snapshot)
	if !ok || !whole {
		return nil
	}
	if err := s.Volumes.Restore(ctx, row.Value.snapshotVolume(c.Snapshot)); err != nil {
		return err
	}
	return s.keepRestored(ctx, restored(row.Value, snap.Value), c.Snapshot)
}
