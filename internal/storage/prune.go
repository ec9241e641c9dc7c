package storage

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

const (
	// longestNap is how long pruning trusts its timer: the clock may be set, and timers stand still in a suspended host.
	longestNap = time.Hour
	// pruneAgain is when a deletion that failed is tried again.
	pruneAgain = 10 * time.Minute
)

// PruneSnapshots deletes, in the background until Close, snapshots of custom volumes whose expires_at has come. It sleeps until the next one is
// due and, when none ever will be, until a snapshot is made or changed.
func (s *Service) PruneSnapshots() {
	s.tasks.Go(func() { s.prune(s.life) })
}

// expiryChanged wakes pruning up.
func (s *Service) expiryChanged() {
	select {
	case s.expiries <- struct{}{}:
	default: // it has yet to handle the last wake-up, and will see this change then
	}
}

func (s *Service) prune(ctx context.Context) {
	failed := map[string]time.Time{} // when to try again, by path
	for ctx.Err() == nil {
		due, next := s.expired(time.Now(), failed)
		for _, row := range due {
			path := strings.Join(row.Path, "/")
			delete(failed, path)
			if err := s.pruneOne(ctx, idOf(row.Path)); err != nil && ctx.Err() == nil {
				slog.Error("An expired snapshot of a volume could not be deleted", "snapshot", path, "err", err)
				failed[path] = time.Now().Add(pruneAgain)
			}
		}
		if len(due) > 0 {
			continue // time has passed
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(min(max(time.Until(next), 0), longestNap))
		}
		select {
		case <-timer:
		case <-s.expiries:
		case <-ctx.Done():
		}
	}
}

// expired lists the snapshots to delete now, and when the next one has to be looked at; zero: never.
func (s *Service) expired(now time.Time, failed map[string]time.Time) (due []store.Row[volumeRecord], next time.Time) {
	for _, row := range s.volumes.List() {
		at := row.Value.ExpiresAt
		if id := idOf(row.Path); at.Unix() <= 0 || id.Type != VolumeCustom || id.Snapshot == "" { // neither the zero time nor the epoch is a date
			continue
		}
		if again := failed[strings.Join(row.Path, "/")]; again.After(at) {
			at = again
		}
		if !at.After(now) {
			due = append(due, row)
		} else if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return due, next
}

func (s *Service) pruneOne(ctx context.Context, id VolumeID) error {
	held, err := s.Locks.Acquire(ctx, lock.Claim{Action: "delete", Patience: lock.Unbounded}, lock.Exclusive(id.Object()), lock.Shared(lock.ForPool(id.Pool)))
	if err != nil {
		return err
	}
	defer held.Release()
	// It may be gone, or its date have been changed, while we waited.
	if row, ok := s.volumes.Get(id.path()...); !ok || row.Value.ExpiresAt.After(time.Now()) {
		return nil
	}
	return s.deleteVolume(held.Context(ctx), id)
}
