package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
)

var (
	stopBegun   = fault.New("instance.stop.begun")
	stopGone    = fault.New("instance.stop.gone")
	stopDevices = fault.New("instance.stop.devices")
	stopKept    = fault.New("instance.stop.kept")
)

// stop ends an instance. A stop that is under way is joined; a forced one then makes it quick.
func (s *Service) stop(ctx context.Context, project, name string, force bool, timeout time.Duration) error {
	row, err := s.get(project, name)
	if err != nil {
		return err
	}
	i := row.Value
	other := s.holder(i)
	if other == nil && !s.running(i) {
		return api.BadRequest("The instance is already stopped")
	}
	if other != nil && other.Action() == "stop" {
		return s.joinStop(ctx, i, other, force)
	}
	l, err := s.acquire(ctx, i.Project, i.Name, "stop", lock.Short)
	if err != nil {
		return err
	}
	defer l.Release()
	if !s.running(i) {
		return api.BadRequest("The instance is already stopped")
	}
	return s.halt(ctx, i, force, timeout, true)
}

func (s *Service) joinStop(ctx context.Context, i *Instance, other *lock.Held, force bool) error {
	if force {
		if err := s.Runtime.Kill(ctx, i.id()); err != nil {
			return err
		}
	}
	select {
	case <-other.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.running(i) {
		return fmt.Errorf("Failed shutting down instance, status is %q", s.Runtime.Status(i.id()))
	}
	return nil
}

// halt ends an instance whose lock is held, and cleans up after it. last as in finish.
func (s *Service) halt(ctx context.Context, i *Instance, force bool, timeout time.Duration, last bool) error {
	r := s.runs.get(i.id())
	if r == nil { // its end has been noticed already
		return nil
	}
	if err := stopBegun.Hit(); err != nil {
		return err
	}
	if s.Runtime.Status(i.id()) == api.Frozen {
		if err := s.Runtime.Thaw(ctx, i.id()); err != nil && !force {
			return err
		}
		s.publish(ctx, i.Project, "instance-resumed", url(i.Name), nil)
	}
	action := "instance-shutdown"
	var err error
	if force {
		action = "instance-stopped"
		err = s.Runtime.Kill(ctx, i.id())
	} else {
		err = s.shutdown(ctx, i, timeout)
	}
	if err != nil {
		return err
	}
	if !last {
		action = ""
	}
	s.finish(ctx, r, action, last)
	return nil
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
