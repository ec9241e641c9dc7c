package storage

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
)

// A change of a custom volume that could be neither finished nor undone, as its pool was away, keeps the volume as it is until it is settled: what
// is begun with it meanwhile would lose it, or its name, to a deletion or a renaming that is finished then.

// guardJournal has the entries of custom volumes keep back what they concern.
func (s *Service) guardJournal() {
	s.guardPools()
	of := func(all []VolumeID) []VolumeID { return all }
	s.Journal.Guard(kindVolumeCreate, guardOf(s, of))
	s.Journal.Guard(kindVolumeDelete, guardOf(s, of))
	s.Journal.Guard(kindVolumeRename, guardOf(s, func(e renameEntry) []VolumeID { return []VolumeID{e.From, e.To} }))
}

// guardOf is the guard of entries of one type, by the volumes that each concerns. What concerns a snapshot concerns its volume.
func guardOf[T any](s *Service, of func(T) []VolumeID) journal.Guard {
	return journal.Guard{
		Objects: func(data json.RawMessage) (objects []string) {
			var v T
			if json.Unmarshal(data, &v) != nil {
				return nil
			}
			for _, id := range of(v) {
				objects = append(objects, id.UUID, s.uuidOf(id.of()))
			}
			slices.Sort(objects)
			return slices.Compact(objects)
		},
		Ready: func(ctx context.Context, data json.RawMessage) error {
			var v T
			if err := json.Unmarshal(data, &v); err != nil {
				return err
			}
			return s.answerAll(ctx, of(v))
		},
		Hold: func(ctx context.Context, data json.RawMessage) (func(), error) {
			var v T
			if err := json.Unmarshal(data, &v); err != nil {
				return nil, err
			}
			var wants []lock.Want
			for _, id := range of(v) {
				wants = append(wants, lock.Exclusive(id.Object()), lock.Shared(lock.ForPool(id.Pool)))
			}
			return s.hold(ctx, "recover", wants...)
		},
	}
}

// answerAll fails if a pool that one of the volumes is in hangs.
func (s *Service) answerAll(ctx context.Context, all []VolumeID) error {
	asked := map[string]bool{}
	for _, id := range all {
		if asked[id.Pool] {
			continue
		}
		asked[id.Pool] = true
		if err := s.Answers(ctx, id.Pool); err != nil {
			return err
		}
	}
	return nil
}

// uuidOf is the identity that the store has of a volume; "" if it has none.
func (s *Service) uuidOf(id VolumeID) string {
	row, ok := s.volumes.Get(id.path()...)
	if !ok {
		return ""
	}
	return row.Value.UUID
}

// settle makes an attempt at what keeps changes of a volume back but for some kinds. Its lock is not held yet.
func (s *Service) settle(ctx context.Context, id VolumeID, but ...string) {
	for _, v := range []VolumeID{id, id.of()} {
		s.Journal.Settle(ctx, s.uuidOf(v), func(kind string) bool { return slices.Contains(but, kind) })
	}
}

// unsettled fails while an unfinished change of a kind other than some keeps a volume, or that of a snapshot, as it is.
func (s *Service) unsettled(id VolumeID, but ...string) error {
	for _, v := range []VolumeID{id, id.of()} {
		if err := s.Journal.Unsettled(s.uuidOf(v), func(kind string) bool { return slices.Contains(but, kind) }); err != nil {
			return api.Unavailable("Storage volume %q: %w", v.Name, err)
		}
	}
	return nil
}

// holdSettled is hold for a change of a volume, or that needs it as it is.
func (s *Service) holdSettled(ctx context.Context, action string, id VolumeID, wants ...lock.Want) (release func(), err error) {
	s.settle(ctx, id)
	if release, err = s.hold(ctx, action, wants...); err != nil {
		return nil, err
	}
	if err := s.unsettled(id); err != nil {
		release()
		return nil, err
	}
	return release, nil
}
