package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
)

var (
	stopBegun     = fault.New("instance.stop.begun")
	stopGone      = fault.New("instance.stop.gone")
	stopDevices   = fault.New("instance.stop.devices")
	stopCommitted = fault.New("instance.stop.committed")
)

// Stopping is how a stop that is under way ends an instance. The record says so before anything is done to it: a daemon
// that is killed half way must not find an instance that only seems to have ended by accident, and start it again.
type Stopping string

// Ways to stop; none while no stop is under way.
const (
	stopClean Stopping = "clean"
	stopForce Stopping = "force"
)

func stoppingBy(force bool) Stopping {
	if force {
		return stopForce
	}
	return stopClean
}

// stop ends an instance. A stop that is under way is joined; a forced one then makes it quick.
func (s *Service) stop(ctx context.Context, project, name string, force bool, timeout time.Duration) error {
	row, err := s.get(project, name)
	if err != nil {
		return err
	}
	i := row.Value
	other := s.holder(i)
	if other == nil && !s.running(i) && i.Config["volatile.last_state.power"] != powerRunning {
		return api.BadRequest("The instance is already stopped")
	}
	if other != nil && other.Action() == "stop" {
		if joined, err := s.joinStop(ctx, i, other, force); joined {
			return err
		}
	}
	if r := s.urgent(i, other, force); r != nil {
		if stopped, err := s.stopBeside(ctx, i, r, other, force, timeout); stopped {
			return err
		}
	}
	l, beside, err := s.holdToStop(ctx, i, other, force)
	if beside != nil {
		if stopped, err := s.passBy(ctx, i, beside, force, timeout); stopped {
			return err
		}
		l, err = s.acquire(ctx, i.Project, i.Name, "stop", lock.Short)
	}
	if err != nil {
		other = s.holder(i)
		if r := s.urgent(i, other, force); r != nil { // a recovery has begun meanwhile
			if stopped, err := s.stopBeside(ctx, i, r, other, force, timeout); stopped {
				return err
			}
		}
		return err
	}
	defer l.Release()
	if !s.running(i) {
		if s.runs.get(i.id()) == nil { // it is to be started as soon as that can be done: not any more
			if err := s.staysStopped(ctx, project, name); err != nil {
				return err
			}
		}
		return api.BadRequest("The instance is already stopped")
	}
	return s.halt(ctx, i, force, timeout, true)
}

// joinStop waits for a stop that is under way. It tells whether there still was one to be hastened by force.
func (s *Service) joinStop(ctx context.Context, i *Instance, other *lock.Held, force bool) (joined bool, err error) {
	if force {
		if joined, err = s.hasten(ctx, i, other); !joined || err != nil {
			return joined, err
		}
	}
	select {
	case <-other.Done():
	case <-ctx.Done():
		return true, ctx.Err()
	}
	if s.running(i) {
		return true, fmt.Errorf("Failed shutting down instance, status is %q", s.Runtime.Status(i.id()))
	}
	return true, nil
}

// hasten makes a stop that is under way a forced one, before somebody else can have started the instance again.
func (s *Service) hasten(ctx context.Context, i *Instance, other *lock.Held) (hastened bool, err error) {
	release, ok := other.Keep()
	if !ok {
		return !s.running(i), nil // it may have failed
	}
	defer release()
	if r := s.runs.get(i.id()); r != nil && !r.atShutdown.Load() {
		s.recordStopping(ctx, i, stopForce)
	}
	s.copyFreezes.abort(i.id())
	return true, s.Runtime.Kill(ctx, i.id())
}

// halt ends an instance whose lock is held, and cleans up after it. last as in finish.
func (s *Service) halt(ctx context.Context, i *Instance, force bool, timeout time.Duration, last bool) error {
	r := s.runs.get(i.id())
	if r == nil { // its end has been noticed already
		return s.reachable(i)
	}
	quick := force || r.atShutdown.Load()
	awake := func() {}
	if !quick && last { // who is to start it again holds that already
		held, err := s.lockFreeze(ctx, i)
		if err != nil {
			return err
		}
		defer held.Release()
		awake = held.Release
	}
	if !quick && s.copyFreezes.get(i.id()) != nil { // thawed, it would change what is being copied
		return errCopied()
	}
	s.copyFreezes.abort(i.id())
	recorded := last && !r.atShutdown.Load()
	if recorded {
		s.recordStopping(ctx, i, stoppingBy(force))
	}
	action, err := s.bringDown(ctx, i, force, timeout, awake)
	if quick {
		s.copyFreezes.abort(i.id()) // a copy may have begun before it was thawed
	}
	if err != nil {
		if recorded && !s.daemonEnds(ctx) { // else the next daemon goes on with it
			s.recordStopping(ctx, i, "")
		}
		return err
	}
	if !last {
		action = ""
	}
	s.finish(ctx, r, action, last)
	return nil
}

// bringDown stops the processes of an instance and returns the lifecycle event to publish for it. It calls awake when none are paused
// any more.
func (s *Service) bringDown(ctx context.Context, i *Instance, force bool, timeout time.Duration, awake func()) (action string, err error) {
	if err := stopBegun.Hit(); err != nil {
		return "", err
	}
	if s.Runtime.Status(i.id()) == api.Frozen {
		if err := s.Runtime.Thaw(ctx, i.id()); err != nil && !force {
			return "", err
		}
		s.publish(ctx, i.Project, "instance-resumed", url(i.Project, i.Name), nil)
	}
	awake()
	if force {
		return "instance-stopped", s.Runtime.Kill(ctx, i.id())
	}
	return "instance-shutdown", s.shutdown(ctx, i, timeout)
}

// recordStopping writes to the record that, and how, an instance is being stopped, or with "" that it goes on running. It only
// logs a failure: a full disk must not keep an instance from being stopped, and without the record it may at worst be started again.
func (s *Service) recordStopping(ctx context.Context, i *Instance, how Stopping) {
	work, cancel := detached(ctx)
	defer cancel()
	err := s.modify(work, i.Project, i.Name, func(stored *Instance) error {
		stored.Stopping = how
		return nil
	})
	if err != nil && !api.IsNotFound(err) {
		s.Log.Error("A stop could not be recorded", "instance", i.Name, "project", i.Project, "stopping", how, "err", err)
	}
}

// daemonEnds tells whether a change was cut short by the end of the daemon rather than by a failure.
func (s *Service) daemonEnds(ctx context.Context) bool {
	return s.background.Err() != nil || errors.Is(context.Cause(ctx), operation.ErrShutdown)
}

// reachable fails for an instance that seems to run but could not be taken over (see Adopt).
func (s *Service) reachable(i *Instance) error {
	if s.Runtime.Status(i.id()) != api.StatusError {
		return nil
	}
	return api.Unavailable("The instance runs but the daemon could not take it over; it is left alone and tried again")
}

func (s *Service) shutdown(ctx context.Context, i *Instance, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	err := s.Runtime.Shutdown(ctx, i.id())
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("Failed shutting down instance, status is %q: %w", s.Runtime.Status(i.id()), ctx.Err())
	}
	return err
}
