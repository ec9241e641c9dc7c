package instance

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/berthd/berth/internal/expiry"
	"github.com/berthd/berth/internal/lock"
)

// PruneSnapshots deletes, in the background, snapshots whose expires_at has come.
func (s *Service) PruneSnapshots() {
	s.pruner.Dates, s.pruner.Log = s.dates, s.Log
	s.pruner.Group = func(path []string) string { return s.poolOf(path[0], path[1]) }
	s.pruner.Delete = func(ctx context.Context, path []string) error { return s.pruneOne(ctx, path[0], path[1], path[2]) }
	s.tasks.Add(1)
	go func() {
		defer s.tasks.Done()
		s.pruner.Run(s.background)
	}()
}

// dates lists snapshots with their expires_at.
func (s *Service) dates() iter.Seq2[[]string, time.Time] {
	return func(yield func([]string, time.Time) bool) {
		for _, row := range s.snapshots.List() {
			if !yield(row.Path, row.Value.ExpiresAt) {
				return
			}
		}
	}
}

// pruneOne deletes an expired snapshot, if its date is still what it was and nobody is at the instance or copies its volume.
func (s *Service) pruneOne(ctx context.Context, project, name, snapshot string) error {
	row, err := s.get(project, name)
	if err != nil {
		return err
	}
	if err := s.Volumes.Answers(ctx, row.Value.Pool); err != nil { // who deletes there would hold the instance until it does
		return fmt.Errorf("%w: %w", expiry.ErrBusy, err)
	}
	volume := row.Value.volume().Object()
	held, other := s.Locks.Try(claim("snapshot", lock.Short), lock.Exclusive(lock.ForInstance(project, name)), lock.Exclusive(volume))
	if other != nil {
		return fmt.Errorf("%w: %s", expiry.ErrBusy, other.Action())
	}
	defer held.Release()
	if err := s.unsettled(project, name, "snapshot"); err != nil {
		return fmt.Errorf("%w: %w", expiry.ErrBusy, err)
	}
	if row, err = s.get(project, name); err != nil {
		return err
	}
	if row.Value.volume().Object() != volume { // it has just been moved
		return expiry.ErrBusy
	}
	if snap, ok := s.snapshots.Get(project, name, snapshot); !ok || snap.Value.ExpiresAt.After(time.Now()) {
		return nil
	}
	return s.dropSnapshot(ctx, row.Value, snapshot)
}

// poolOf is the pool of an instance; none if there is no such instance.
func (s *Service) poolOf(project, name string) string {
	row, ok := s.instances.Get(project, name)
	if !ok {
		return ""
	}
	return row.Value.Pool
}
