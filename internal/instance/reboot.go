package instance

import (
	"context"
	"time"

	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/spec"
)

// rebootTime bounds what is prepared for a restart from inside.
const rebootTime = time.Minute

// Reboot is how the runtime brings an instance back that restarts from inside: its processes have ended, and for
// everyone else it has never gone. launch runs it, with a Spec of its own or, given nil, as it was started before. A change
// that is under way comes first: what it ran with may be gone, and what was taken from it must not come back. ctx ends when
// somebody wants its end, and so waits for it.
func (s *Service) Reboot(ctx context.Context, id string, launch func(*spec.Spec) error) error {
	r := s.runs.get(id)
	if r == nil { // this daemon has just begun and not got to it
		return launch(nil)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.background, cancel)()
	l, err := s.acquire(ctx, r.project, r.name, "restart", lock.Unbounded)
	if err != nil {
		return err
	}
	defer l.Release()
	ctx, cancel = context.WithTimeout(ctx, rebootTime)
	defer cancel()
	row, err := s.get(r.project, r.name)
	if err != nil {
		return err
	}
	i := row.Value.clone()
	used, err := s.holdUsed(l.Context(ctx), "restart", i, lock.Exclusive(i.freeze()))
	if err != nil {
		return err
	}
	defer used.Release()
	eff, err := s.check(ctx, i, i)
	if err != nil {
		s.Log.Warn("An instance that restarts from inside keeps its old configuration", "instance", i.Name, "project", i.Project, "err", err)
		return launch(nil)
	}
	if err := s.loadModules(ctx, eff.Config); err != nil {
		return err
	}
	for name, changes := range s.stopDevices(ctx, i, r.live()) {
		setDeviceVolatile(i.Config, name, changes)
	}
	r.has.Store(liveOf(i, eff))
	if _, err := s.Store.Commit(ctx, s.putLive(i, r.live())); err != nil { // what a kill from here on leaves is found by it
		return err
	}
	next, sp, err := s.compile(ctx, i, eff)
	if err != nil {
		return err
	}
	r.has.Store(liveOf(next, eff))
	if err := s.commitStarted(ctx, next, r.live()); err != nil {
		return err
	}
	if err := launch(sp); err != nil {
		return err
	}
	s.rebalanceAfter(ctx, r)
	s.publish(ctx, i.Project, "instance-restarted", url(i.Project, i.Name), nil)
	return nil
}
