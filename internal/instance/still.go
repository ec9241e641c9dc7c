package instance

import (
	"context"
	"errors"
	"sync"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/storage"
)

var copyStill = fault.New("instance.copy.still")

// stills are the instances that are kept still because their volume is being copied: one that ran is frozen, and one that did not
// is not started.
type stills struct {
	mu   sync.Mutex
	list map[string]*still
}

// still is one of them; its fields are changed by whoever holds its lock.Stillness.
type still struct {
	copies int
	entry  *journal.Entry // that it is to go on; nil for one that did not run
}

func (s *stills) get(id string) *still {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list[id]
}

func (s *stills) set(id string, one *still) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case one == nil:
		delete(s.list, id)
	case s.list == nil:
		s.list = map[string]*still{id: one}
	default:
		s.list[id] = one
	}
}

// holdStill freezes a running instance while its volume is copied, and keeps another from being started, so that the copy is of one
// instant. Of several copies at once the first freezes it, and the last lets it go on. The journal knows of it: a daemon that ends meanwhile must not
// leave an instance frozen that nobody has paused.
func (s *Service) holdStill(ctx context.Context, src *Instance, from storage.VolumeID) (release func(), err error) {
	if from.Snapshot != "" {
		return func() {}, nil
	}
	held, err := s.holdStillness(ctx, src)
	if err != nil {
		return nil, err
	}
	defer held.Release()
	one := s.stills.get(src.id())
	if one == nil {
		if one, err = s.keepStill(ctx, src); err != nil {
			return nil, err
		}
	}
	one.copies++
	return sync.OnceFunc(func() { s.releaseStill(ctx, src, one) }), nil
}

func (s *Service) holdStillness(ctx context.Context, i *Instance) (*lock.Held, error) {
	return s.Locks.Acquire(ctx, lock.Claim{Action: "copy", Brief: true, Patience: lock.Long},
		lock.Exclusive(lock.Of(lock.Stillness, i.Project, i.Name)))
}

// holdUncopied keeps copies of an instance's volume from beginning, as it is being started. It fails while one is made.
func (s *Service) holdUncopied(ctx context.Context, action string, i *Instance) (release func(), err error) {
	held, err := s.Locks.Acquire(ctx, lock.Claim{Action: action, Brief: true, Patience: lock.Long},
		lock.Exclusive(lock.Of(lock.Stillness, i.Project, i.Name)))
	if err != nil {
		return nil, err
	}
	if s.stills.get(i.id()) != nil {
		held.Release()
		return nil, errCopied()
	}
	return held.Release, nil
}

func errCopied() error { return api.BadRequest("Instance is busy running a %q operation", "copy") }

func (s *Service) keepStill(ctx context.Context, src *Instance) (*still, error) {
	if s.Runtime.Status(src.id()) == api.Running {
		return s.freezeForCopy(ctx, src)
	}
	one := &still{}
	s.stills.set(src.id(), one)
	return one, nil
}

func (s *Service) freezeForCopy(ctx context.Context, src *Instance) (*still, error) {
	entry, err := s.Journal.Begin(ctx, kindStill, changeOf(src))
	if err != nil {
		return nil, err
	}
	one := &still{entry: entry}
	s.stills.set(src.id(), one)
	err = s.Runtime.Freeze(ctx, src.id())
	if err == nil {
		err = copyStill.Hit()
	}
	if err != nil {
		s.goOn(ctx, src, one)
		return nil, err
	}
	return one, nil
}

func (s *Service) releaseStill(ctx context.Context, src *Instance, one *still) {
	ctx, cancel := detached(ctx)
	defer cancel()
	held, err := s.holdStillness(ctx, src)
	if err != nil {
		s.Log.Error("resume after a copy", "instance", src.Name, "err", err)
		return
	}
	defer held.Release()
	if one.copies--; one.copies == 0 {
		s.goOn(ctx, src, one)
	}
}

// goOn lets an instance run again that was frozen for copies, or be started.
func (s *Service) goOn(ctx context.Context, src *Instance, one *still) {
	defer s.stills.set(src.id(), nil)
	if one.entry == nil {
		return
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	if err := errors.Join(s.resume(ctx, src.id()), one.entry.Close(ctx)); err != nil {
		s.Log.Error("resume after a copy", "instance", src.Name, "err", err)
	}
}

func (s *Service) resume(ctx context.Context, id string) error {
	if s.Runtime.Status(id) == api.Stopped {
		return nil // it has ended meanwhile
	}
	return s.Runtime.Thaw(ctx, id)
}

// undoStill resumes an instance that was frozen for a copy which was cut off.
func (s *Service) undoStill(ctx context.Context, c change) error {
	i, ok := s.concerned(c)
	if !ok {
		return nil
	}
	if _, err := s.Runtime.Find(ctx, s.owner); err != nil { // recovery comes before running instances are adopted
		return err
	}
	return s.resume(ctx, i.id())
}
