package instance

import (
	"context"
	"iter"
	"time"

	"github.com/berthd/berth/internal/lock"
)

// PruneSnapshots deletes, in the background, snapshots whose expires_at has come.
func (s *Service) PruneSnapshots() {
	s.pruner.Dates, s.pruner.Log = s.dates, s.Log
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

func (s *Service) pruneOne(ctx context.Context, project, name, snapshot string) error {
	// Its date may be changed while we wait.
	return s.holdAndDelete(ctx, project, name, snapshot, lock.Unbounded, func() bool {
		snap, ok := s.snapshots.Get(project, name, snapshot)
		return ok && !snap.Value.ExpiresAt.After(time.Now())
	})
}
