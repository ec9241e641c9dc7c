package instance

import (
	"context"
	"encoding/json"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

// What a move between pools leaves in the pool that its instance is not on, the old one or, of a move that failed, the new one, may have to wait until
// that pool is there. It concerns nobody: its entry names the volumes, so that the instance can go on being changed, moved, renamed and deleted.

// maxNamed is how many snapshots' volumes an entry names: an op has room for some thousands. Beyond it the entry is of kindMove, whose handler goes by
// the instance's record, and keeps the instance as it is.
const maxNamed = 2000

// moveEntry is the entry of a move that has just begun: what it makes in the new pool is to go.
func moveEntry(old *Instance, pool string, made []storage.VolumeID) (kind string, c change) {
	c = changeOf(old)
	c.NewPool = pool
	if len(made) > maxNamed {
		return kindMove, c
	}
	c.Volumes = made
	return kindMoveRest, c
}

// movedEntry is it once the instance is on the new pool: what it had in the old one is to go.
func movedEntry(c change, had []storage.VolumeID) change {
	if c.Volumes != nil {
		c.NewPool, c.Volumes = "", had
	}
	return c
}

// guardMoveRest claims the place that the volumes have, so that nobody makes them anew meanwhile. Nothing is kept back.
func (s *Service) guardMoveRest() {
	s.Journal.Guard(kindMoveRest, journal.Guard{
		Aside: true,
		Objects: func(data json.RawMessage) []string {
			var c change
			if json.Unmarshal(data, &c) != nil {
				return nil
			}
			return []string{c.UUID}
		},
		Ready: func(ctx context.Context, data json.RawMessage) error { return s.poolsAnswer(ctx, &Instance{}, data) },
		Hold: func(ctx context.Context, data json.RawMessage) (func(), error) {
			var c change
			if err := json.Unmarshal(data, &c); err != nil {
				return nil, err
			}
			wants := []lock.Want{lock.Exclusive(lock.ForInstance(c.Project, c.Name))}
			for _, v := range c.Volumes[:min(1, len(c.Volumes))] { // its snapshots go with it
				wants = append(wants, lock.Shared(lock.ForPool(v.Pool)), lock.Exclusive(v.Object()))
			}
			return releaseOf(s.Locks.Acquire(ctx, lock.Claim{Action: recovering, Brief: true, Patience: lock.Short}, wants...))
		},
	})
}

// rest are those of the volumes that their instance is not on, as it is after a later move back. Another instance may be where they were: amongst its
// volumes those left are told by their identity alone.
func (s *Service) rest(c change) (nobodys, amongOthers []storage.VolumeID) {
	for _, v := range c.Volumes {
		row, ok := s.instances.Get(v.Project, v.Name)
		switch {
		case !ok || row.Value.Pool != v.Pool:
			nobodys = append(nobodys, v)
		case row.Value.UUID != c.UUID:
			amongOthers = append(amongOthers, v)
		}
	}
	return nobodys, amongOthers
}

// removeMoveRest sets the links right, and removes the volumes that an entry names: of a move that failed only those that it has made.
func (s *Service) removeMoveRest(ctx context.Context, c change) error {
	if i, ok := s.current(c); ok {
		if err := s.linkInstance(i); err != nil {
			return err
		}
		if err := s.linkSnapshots(i, len(s.snapshots.List(i.Project, i.Name)) > 0); err != nil {
			return err
		}
	}
	remove := s.Volumes.Delete
	if c.NewPool != "" {
		remove = s.Volumes.Undo
	}
	nobodys, amongOthers := s.rest(c)
	if err := remove(ctx, nobodys...); err != nil && !api.IsNotFound(err) {
		return err
	}
	if err := s.Volumes.Undo(ctx, amongOthers...); err != nil && !api.IsNotFound(err) {
		return err
	}
	return nil
}

// forgetMoveRest removes the records of those volumes, which go by name: where another instance is they are its own.
func (s *Service) forgetMoveRest(ctx context.Context, c change) error {
	var ops []store.Op
	nobodys, _ := s.rest(c)
	for _, v := range nobodys {
		ops = append(ops, s.Volumes.Forget(v))
	}
	_, err := s.Store.CommitAll(ctx, ops)
	return err
}

func (s *Service) recoverMoveRest(ctx context.Context, c change) error {
	if err := s.removeMoveRest(ctx, c); err != nil {
		return err
	}
	return s.forgetMoveRest(ctx, c)
}
