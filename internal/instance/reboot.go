package instance

import (
	"context"

	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/spec"
)

// Reboot is how the runtime brings an instance back that restarts from inside: its processes have ended, and for
// everyone else it has never gone. launch runs it, with a Spec of its own or, given nil, as it ran before: the latter
// where a change of the instance is under way, which will find it running.
func (s *Service) Reboot(ctx context.Context, id string, launch func(*spec.Spec) error) error {
	r := s.runs.get(id)
	if r == nil { // this daemon has just begun and not got to it
		return launch(nil)
	}
	// Try instead of a wait: a stop holds the lock while it waits for the runtime, which waits for this call.
	l, other := s.Locks.Try(claim("restart", lock.Short), lock.Exclusive(lock.ForInstance(r.project, r.name)))
	if other != nil {
		return launch(nil)
	}
	defer l.Release()
	row, err := s.get(r.project, r.name)
	if err != nil {
		return err
	}
	i := row.Value.clone()
	eff, err := s.check(ctx, i, i)
	if err != nil {
		s.Log.Warn("An instance that restarts from inside keeps its old configuration", "instance", i.Name, "err", err)
		return launch(nil)
	}
	if err := s.loadModules(ctx, eff.Config); err != nil {
		return err
	}
	for name, changes := range s.stopDevices(ctx, i, r.live()) {
		setDeviceVolatile(i.Config, name, changes)
	}
	r.has.Store(liveOf(i, eff))
	next, sp, err := s.compile(ctx, i, eff)
	if err != nil {
		return err
	}
	r.has.Store(liveOf(next, eff))
	if err := s.keepStarted(ctx, next, r.live()); err != nil {
		return err
	}
	if err := launch(sp); err != nil {
		return err
	}
	s.rebalanceAfter(ctx, r)
	s.publish(ctx, i.Project, "instance-restarted", url(i.Name), nil)
	return nil
}
