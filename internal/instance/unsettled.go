package instance

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/storage"
)

// A change of an instance that could be neither finished nor undone, as its pool was away, keeps the instance as it is until it is settled: what a
// guest wrote meanwhile would go with the tree that an undo takes away. What follows says what it keeps back, and how it is tried again.

// always are the actions that no unfinished change keeps back: they end a run, or see that one has ended.
var always = []string{"stop", "exit", "adopt", "unfreeze"}

// harmless are the actions that go on beside an unfinished change of a kind, as its handler touches nothing of theirs: a deletion that is asked for again
// stands for both, and the remains of a move or a snapshot are other volumes, which a copy or a move to another pool leaves where they are. Beside
// kindMoveRest all go on.
var harmless = map[string][]string{
	kindDelete:         {"delete"},
	kindMove:           {"start", "restart"},
	kindSnapshot:       {"start", "restart", "snapshot", "copy", "move"},
	kindSnapshotDelete: {"start", "restart", "snapshot", "copy", "move"},
	kindSnapshotRename: {"start", "restart"},
	kindUpdate:         {"start", "restart"},
	kindCopyFreeze:     {"start", "restart"},
}

func goesOn(action string) func(kind string) bool {
	return func(kind string) bool {
		return kind == kindMoveRest || slices.Contains(always, action) || slices.Contains(harmless[kind], action)
	}
}

// settle makes an attempt at what keeps an action on an instance back. Its lock is not held yet.
func (s *Service) settle(ctx context.Context, project, name, action string) {
	if row, ok := s.instances.Get(project, name); ok {
		s.Journal.Settle(ctx, row.Value.UUID, goesOn(action))
	}
}

// unsettled fails while an unfinished change keeps an action on an instance back; its lock is held.
func (s *Service) unsettled(project, name, action string) error {
	row, ok := s.instances.Get(project, name)
	if !ok {
		return nil
	}
	return s.Journal.Unsettled(row.Value.UUID, goesOn(action))
}

// guardJournal has the entries of instances keep back what they concern.
func (s *Service) guardJournal() {
	for _, kind := range []string{kindCreate, kindDelete, kindMove, kindSnapshot, kindSnapshotDelete, kindSnapshotRename, kindCopyFreeze} {
		s.Journal.Guard(kind, guardOf(s, func(c change) *Instance {
			return &Instance{Project: c.Project, Name: c.Name, UUID: c.UUID, Pool: c.Pool}
		}))
	}
	rename := guardOf(s, func(c change) *Instance {
		return &Instance{Project: c.Project, Name: c.Name, UUID: c.UUID, Pool: c.Pool}
	})
	rename.Hold = s.holdToUndoRename
	s.Journal.Guard(kindRename, rename)
	s.guardMoveRest()
	s.Journal.Guard(kindUpdate, guardOf(s, func(p stepRecord) *Instance {
		i := &Instance{Project: p.Project, Name: p.Name}
		if p.Before != nil {
			i.UUID = p.Before.UUID
		}
		return i
	}))
	for _, kind := range []string{kindRestore, kindRefresh} {
		s.Journal.Guard(kind, guardOf(s, func(st swapRecord) *Instance {
			return &Instance{Project: st.Project, Name: st.Name, UUID: st.UUID, Pool: st.Stage.Pool}
		}))
	}
}

// guardOf is the guard of entries of one type, by the instance that each concerns.
func guardOf[T any](s *Service, of func(T) *Instance) journal.Guard {
	return journal.Guard{
		Objects: func(data json.RawMessage) []string {
			var v T
			if json.Unmarshal(data, &v) != nil {
				return nil
			}
			return []string{of(v).UUID}
		},
		Ready: func(ctx context.Context, data json.RawMessage) error {
			var v T
			if err := json.Unmarshal(data, &v); err != nil {
				return err
			}
			return s.poolsAnswer(ctx, of(v), data)
		},
		Hold: func(ctx context.Context, data json.RawMessage) (func(), error) {
			var v T
			if err := json.Unmarshal(data, &v); err != nil {
				return nil, err
			}
			return s.holdToRecover(ctx, of(v))
		},
	}
}

// holdToUndoRename claims both places of a rename: somebody may have taken the new one.
func (s *Service) holdToUndoRename(ctx context.Context, data json.RawMessage) (release func(), err error) {
	var c change
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, err
	}
	old := &Instance{Project: c.Project, Name: c.Name, UUID: c.UUID, Pool: c.Pool}
	next := inNewPlace(old, c)
	return s.holdToRecover(ctx, old, lock.Exclusive(lock.ForInstance(next.Project, next.Name)), lock.Exclusive(next.volume().Object()))
}

// holdToRecover claims an instance and its volume, wherever that is, and more of the caller's.
func (s *Service) holdToRecover(ctx context.Context, i *Instance, more ...lock.Want) (release func(), err error) {
	wants := append(more, lock.Exclusive(lock.ForInstance(i.Project, i.Name)))
	if row, ok := s.instances.Get(i.Project, i.Name); ok {
		i = row.Value
	}
	if i.Pool != "" {
		wants = append(wants, lock.Shared(lock.ForPool(i.Pool)), lock.Exclusive(i.volume().Object()))
	}
	return releaseOf(s.Locks.Acquire(ctx, lock.Claim{Action: recovering, Brief: true, Patience: lock.Short}, wants...))
}

// known finds out what runs: recovery at the start comes before running instances are adopted.
func (s *Service) known(ctx context.Context) error {
	if s.adopted.Load() {
		return nil
	}
	_, err := s.Runtime.Find(ctx, s.owner)
	return err
}

// atRest fails for an instance that runs, or may: what was cut off is neither finished nor undone under it.
func (s *Service) atRest(ctx context.Context, i *Instance) error {
	if err := s.known(ctx); err != nil {
		return err
	}
	if s.running(i) {
		return api.Unavailable("Instance %q runs: the change waits for its end", i.Name)
	}
	return nil
}

// exchange has the contents of an instance and of its stage change places, which no guest must see.
func (s *Service) exchange(ctx context.Context, i *Instance, volume, stage storage.VolumeID) error {
	if err := s.atRest(ctx, i); err != nil {
		return fmt.Errorf("exchange contents: %w", err)
	}
	s.emptyVolume(i)
	return s.Volumes.Exchange(ctx, volume, stage)
}
