package instance

import (
	"context"
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

// PruneSnapshots deletes, in the background, snapshots whose expires_at has come. It sleeps until the next one is due
// and, when none ever will be, until a snapshot is made or changed.
func (s *Service) PruneSnapshots() {
	s.tasks.Add(1)
	go func() {
		defer s.tasks.Done()
		s.prune(s.background)
	}()
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
			if err := s.pruneOne(ctx, row.Path[0], row.Path[1], row.Path[2]); err != nil && ctx.Err() == nil {
				s.Log.Error("An expired snapshot could not be deleted", "snapshot", path, "err", err)
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
func (s *Service) expired(now time.Time, failed map[string]time.Time) (due []store.Row[Snapshot], next time.Time) {
	for _, row := range s.snapshots.List() {
		at := row.Value.ExpiresAt
		if at.Unix() <= 0 { // neither the zero time nor the epoch is a date: both say "never"
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

func (s *Service) pruneOne(ctx context.Context, project, name, snapshot string) error {
	l, err := s.acquire(ctx, project, name, "snapshot", lock.Unbounded)
	if err != nil {
		return err
	}
	defer l.Release()
	row, err := s.get(project, name)
	if err != nil {
		return err
	}
	// Its date may have been changed while we waited.
	if snap, ok := s.snapshots.Get(project, name, snapshot); !ok || snap.Value.ExpiresAt.After(time.Now()) {
		return nil
	}
	content, err := s.holdVolume(ctx, "snapshot", lock.Unbounded, row.Value)
	if err != nil {
		return err
	}
	defer content.Release()
	if err := s.deleteSnapshot(ctx, row.Value, snapshot); err != nil {
		return err
	}
	s.publish(ctx, project, "instance-snapshot-deleted", snapshotURL(name, snapshot), nil)
	return nil
}
