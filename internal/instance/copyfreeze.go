package instance

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/storage"
)

var copyFrozen = fault.New("instance.copy.frozen")

// copyFreezes are the instances whose volume is being copied: one that ran is frozen, and one that did not is not started.
type copyFreezes struct {
	mu   sync.Mutex
	list map[string]*copyFreeze
}

// copyFreeze is one of them; its fields are changed by whoever holds its lock.Freeze.
type copyFreeze struct {
	copies int
	entry  *journal.Entry // that it is to be thawed; nil for one that did not run
	broken atomic.Bool    // it was stopped all the same: what was copied is not of one instant
}

func (s *copyFreezes) get(id string) *copyFreeze {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list[id]
}

func (s *copyFreezes) set(id string, one *copyFreeze) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case one == nil:
		delete(s.list, id)
	case s.list == nil:
		s.list = map[string]*copyFreeze{id: one}
	default:
		s.list[id] = one
	}
}

// abort tells the copies of an instance that it goes on, or ends, although they are under way.
func (s *copyFreezes) abort(id string) {
	if one := s.get(id); one != nil {
		one.broken.Store(true)
	}
}

// copyRoot copies the root volume of an instance, as it is at one instant, or one of its snapshots.
func (s *Service) copyRoot(ctx context.Context, dst storage.VolumeID, src *Instance, from storage.VolumeID) error {
	if from.Snapshot != "" {
		return s.Volumes.Copy(ctx, dst, from)
	}
	release, err := s.holdFrozen(ctx, src)
	if err != nil {
		return err
	}
	defer release()
	if err := s.Volumes.Copy(ctx, dst, from); err != nil {
		return err
	}
	if s.copyFreezes.get(src.id()).broken.Load() {
		return api.BadRequest("Instance %q was stopped while it was copied", src.Name)
	}
	return nil
}

// holdFrozen freezes a running instance while its volume is copied, and keeps another from being started, so that the copy is
// of one instant. Of several copies at once the first freezes it and the last thaws it. A journal entry records the freeze, so
// that the end of the daemon does not leave an instance frozen that nobody has paused.
func (s *Service) holdFrozen(ctx context.Context, src *Instance) (release func(), err error) {
	held, err := s.lockFreeze(ctx, src)
	if err != nil {
		return nil, err
	}
	defer held.Release()
	one := s.copyFreezes.get(src.id())
	if one == nil {
		if one, err = s.beginFreeze(ctx, src); err != nil {
			return nil, err
		}
	}
	one.copies++
	return sync.OnceFunc(func() { s.releaseFrozen(ctx, src, one) }), nil
}

// freeze is the lock on what keeps the instance as it is for copies.
func (i *Instance) freeze() lock.Object { return lock.Of(lock.Freeze, i.Project, i.Name) }

func (s *Service) lockFreeze(ctx context.Context, i *Instance) (*lock.Held, error) {
	return s.Locks.Acquire(ctx, lock.Claim{Action: "copy", Brief: true, Patience: lock.Long},
		lock.Exclusive(i.freeze()))
}

// holdForStart holds what the devices of an instance name, and keeps copies of its volume from beginning, as it is being started. It
// fails while one is made.
func (s *Service) holdForStart(ctx context.Context, action string, i *Instance) (*lock.Held, error) {
	held, err := s.holdUsed(ctx, action, i, lock.Exclusive(i.freeze()))
	if err != nil {
		return nil, err
	}
	if s.copyFreezes.get(i.id()) != nil {
		held.Release()
		return nil, errCopied()
	}
	return held, nil
}

func errCopied() error { return api.BadRequest("Instance is busy running a %q operation", "copy") }

func (s *Service) beginFreeze(ctx context.Context, src *Instance) (*copyFreeze, error) {
	if s.Runtime.Status(src.id()) == api.Running {
		return s.freezeForCopy(ctx, src)
	}
	one := &copyFreeze{}
	s.copyFreezes.set(src.id(), one)
	return one, nil
}

func (s *Service) freezeForCopy(ctx context.Context, src *Instance) (*copyFreeze, error) {
	entry, err := s.Journal.Begin(ctx, kindCopyFreeze, changeOf(src))
	if err != nil {
		return nil, err
	}
	one := &copyFreeze{entry: entry}
	s.copyFreezes.set(src.id(), one)
	err = s.Runtime.Freeze(ctx, src.id())
	if err == nil {
		err = copyFrozen.Hit()
	}
	if err != nil {
		s.thawAfterCopies(ctx, src, one)
		return nil, err
	}
	return one, nil
}

func (s *Service) releaseFrozen(ctx context.Context, src *Instance, one *copyFreeze) {
	ctx, cancel := detached(ctx)
	defer cancel()
	held, err := s.lockFreeze(ctx, src)
	if err != nil {
		s.Log.Error("resume after a copy", "instance", src.Name, "project", src.Project, "err", err)
		return
	}
	defer held.Release()
	if one.copies--; one.copies == 0 {
		s.thawAfterCopies(ctx, src, one)
	}
}

// thawAfterCopies lets an instance run again that was frozen for copies, or be started.
func (s *Service) thawAfterCopies(ctx context.Context, src *Instance, one *copyFreeze) {
	defer s.copyFreezes.set(src.id(), nil)
	if one.entry == nil {
		return
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	err := s.resume(ctx, src.id())
	if err == nil {
		err = one.entry.Close(ctx)
	} else {
		one.entry.Leave(err)
	}
	if err != nil {
		s.Log.Error("resume after a copy", "instance", src.Name, "project", src.Project, "err", err)
	}
}

func (s *Service) resume(ctx context.Context, id string) error {
	if s.Runtime.Status(id) != api.Frozen {
		return nil // it has ended meanwhile, or somebody else has resumed it
	}
	return s.Runtime.Thaw(ctx, id)
}

// undoCopyFreeze resumes an instance that was frozen for a copy which was cut off.
func (s *Service) undoCopyFreeze(ctx context.Context, c change) error {
	i, ok := s.current(c)
	if !ok {
		return nil
	}
	if err := s.known(ctx); err != nil {
		return err
	}
	return s.resume(ctx, i.id())
}
