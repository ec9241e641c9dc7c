package storage

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/berthd/berth/internal/expiry"
	"github.com/berthd/berth/internal/lock"
)

// PruneSnapshots deletes, in the background until Close, snapshots of custom volumes whose expires_at has come.
func (s *Service) PruneSnapshots() {
	s.pruner.Dates, s.pruner.Delete, s.pruner.Log = s.dates, s.pruneOne, slog.Default()
	s.pruner.Group = func(path []string) string { return idOf(path).Pool }
	s.tasks.Go(func() { s.pruner.Run(s.life) })
}

// dates lists snapshots of custom volumes with their expires_at.
func (s *Service) dates() iter.Seq2[[]string, time.Time] {
	return func(yield func([]string, time.Time) bool) {
		for _, row := range s.volumes.List() {
			if id := idOf(row.Path); id.Type != VolumeCustom || id.Snapshot == "" {
				continue
			}
			if !yield(row.Path, row.Value.ExpiresAt) {
				return
			}
		}
	}
}

func (s *Service) pruneOne(ctx context.Context, path []string) error {
	id := idOf(path)
	if err := s.Answers(ctx, id.Pool); err != nil { // who deletes there would hold the volume, and the pool, until it does
		return fmt.Errorf("%w: %w", expiry.ErrBusy, err)
	}
	// Whoever waited for those who read the volume would keep all further ones from it: starts of instances that have it among them.
	held, other := s.Locks.Try(lock.Claim{Action: "delete"}, lock.Exclusive(id.Object()), lock.Shared(lock.ForPool(id.Pool)))
	if other != nil {
		return fmt.Errorf("%w: %s", expiry.ErrBusy, other.Action())
	}
	defer held.Release()
	if row, ok := s.volumes.Get(path...); !ok || row.Value.ExpiresAt.After(time.Now()) {
		return nil
	}
	return s.deleteVolume(held.Context(ctx), id)
}
