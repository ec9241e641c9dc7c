package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
)

// SetState checks a change of an instance's power state and returns the work.
func (s *Service) SetState(_ context.Context, project, name string, req api.InstanceStatePut) (*operation.Task, error) {
	if _, err := s.get(project, name); err != nil {
		return nil, err
	}
	act, description, err := s.action(req)
	if err != nil {
		return nil, err
	}
	return &operation.Task{
		Description: description,
		Resources:   map[string][]string{"instances": {url("", name)}},
		Bound:       stateBound(req),
		Run: func(ctx context.Context, _ operation.Progress) error {
			return act(ctx, project, name)
		},
	}, nil
}

// stateBound bounds the operation, beyond any time that a client may sensibly wait for a stop.
func stateBound(req api.InstanceStatePut) time.Duration {
	return time.Duration(max(req.Timeout, 0))*time.Second + 24*time.Hour
}

// action finds what a request asks for. From then on that is what becomes of the instance: see stillWanted.
func (s *Service) action(req api.InstanceStatePut) (act func(ctx context.Context, project, name string) error, description string, err error) {
	do, description, err := s.actionOf(req)
	if err != nil {
		return nil, "", err
	}
	return func(ctx context.Context, project, name string) error {
		if req.Action == "stop" { // that it is not running yet is an error, and is meant to stay so
			s.ask(project, name)
		}
		err := do(ctx, project, name)
		if err == nil || req.Action == "stop" { // a recovery that it has waited for may have made it a candidate meanwhile
			s.ask(project, name)
		}
		return err
	}, description, nil
}

func (s *Service) actionOf(req api.InstanceStatePut) (func(ctx context.Context, project, name string) error, string, error) {
	if req.Stateful {
		return nil, "", api.BadRequest("Stateful start and stop are not supported by this server")
	}
	timeout := time.Duration(req.Timeout) * time.Second
	switch req.Action {
	case "start":
		return s.doStart, "Starting instance", nil
	case "stop":
		return func(ctx context.Context, project, name string) error {
			return s.stop(ctx, project, name, req.Force, timeout)
		}, "Stopping instance", nil
	case "restart":
		return func(ctx context.Context, project, name string) error {
			return s.restart(ctx, project, name, req.Force, timeout)
		}, "Restarting instance", nil
	case "freeze":
		return s.freeze, "Freezing instance", nil
	case "unfreeze":
		return s.unfreeze, "Unfreezing instance", nil
	}
	return nil, "", api.BadRequest("Unknown action: '%s'", req.Action)
}

// doStart starts an instance for a request.
func (s *Service) doStart(ctx context.Context, project, name string) error {
	return s.startWith(ctx, project, name, "instance-started")
}

func (s *Service) startWith(ctx context.Context, project, name, event string) error {
	if r, ok := s.Runtime.(Prewarmer); ok {
		r.Prewarm()
	}
	row, err := s.get(project, name)
	if err != nil {
		return err
	}
	if s.running(row.Value) && s.holder(row.Value) == nil {
		return api.BadRequest("The instance is already running")
	}
	l, err := s.acquire(ctx, row.Value.Project, row.Value.Name, "start", lock.Short)
	if err != nil {
		return err
	}
	defer l.Release()
	row, runs, err := s.look(ctx, project, name) // it may have changed while we waited
	if err != nil {
		return err
	}
	if runs {
		return api.BadRequest("The instance is already running")
	}
	if err := s.start(ctx, row.Value); err != nil {
		return err
	}
	s.publish(ctx, project, event, url(project, name), nil)
	return nil
}

func (s *Service) restart(ctx context.Context, project, name string, force bool, timeout time.Duration) error {
	row, err := s.get(project, name)
	if err != nil {
		return err
	}
	if !s.running(row.Value) {
		return api.BadRequest("The instance is already stopped")
	}
	if err := s.devicesAnswer(ctx, row.Value, nil); err != nil { // else it would be left stopped
		return err
	}
	l, err := s.acquire(ctx, row.Value.Project, row.Value.Name, "restart", lock.Short)
	if err != nil {
		return err
	}
	defer l.Release()
	held, err := s.holdForStart(l.Context(ctx), "restart", row.Value) // first, so that it is not left stopped
	if err != nil {
		return err
	}
	defer held.Release()
	if err := s.halt(ctx, row.Value, force, timeout, false); err != nil {
		return err
	}
	if row, err = s.get(project, name); err != nil {
		return err
	}
	if err := s.startHeld(ctx, row.Value); err != nil {
		return errors.Join(err, s.staysStopped(ctx, project, name))
	}
	s.publish(ctx, project, "instance-restarted", url(project, name), nil)
	return nil
}

// staysStopped records that an instance does not run that was stopped only to be started again. The next daemon starts it where
// the end of this one was the reason.
func (s *Service) staysStopped(ctx context.Context, project, name string) error {
	if s.daemonEnds(ctx) {
		return nil
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	return s.modify(ctx, project, name, func(i *Instance) error {
		i.Config["volatile.last_state.power"] = powerStopped
		return nil
	})
}

func (s *Service) freeze(ctx context.Context, project, name string) error {
	return s.setFrozen(ctx, project, name, "freeze", api.Running, "The container is already frozen", s.Runtime.Freeze, "instance-paused")
}

func (s *Service) unfreeze(ctx context.Context, project, name string) error {
	return s.setFrozen(ctx, project, name, "unfreeze", api.Frozen, "The container is already running", s.Runtime.Thaw, "instance-resumed")
}

// setFrozen freezes or thaws an instance that must be in state from.
func (s *Service) setFrozen(ctx context.Context, project, name, action string, from api.StatusCode, already string,
	do func(context.Context, string) error, event string,
) error {
	row, err := s.get(project, name)
	if err != nil {
		return err
	}
	id := row.Value.id()
	if s.Runtime.Status(id) == api.Stopped {
		return api.BadRequest("The container isn't running")
	}
	l, err := s.acquire(ctx, project, name, action, lock.Short)
	if err != nil {
		return err
	}
	defer l.Release()
	held, err := s.lockFreeze(l.Context(ctx), row.Value) // no copy begins or ends between the look and the deed
	if err != nil {
		return err
	}
	defer held.Release()
	if s.copyFreezes.get(id) != nil {
		return errCopied()
	}
	switch s.Runtime.Status(id) {
	case from:
	case api.Stopped:
		return api.BadRequest("The container isn't running")
	default:
		return api.BadRequest("%s", already)
	}
	if err := do(ctx, id); err != nil {
		return err
	}
	s.publish(ctx, project, event, url(project, name), nil)
	return nil
}

// SetStateAll returns the work that changes the state of every instance of a project to which it applies.
func (s *Service) SetStateAll(_ context.Context, project string, req api.InstanceStatePut) (*operation.Task, error) {
	act, description, err := s.action(req)
	if err != nil {
		return nil, err
	}
	var names, urls []string
	for _, i := range s.rows(project) {
		status := s.Runtime.Status(i.id())
		switch req.Action {
		case "start", "unfreeze":
			if (req.Action == "start") != (status == api.Stopped) || (req.Action == "unfreeze" && status != api.Frozen) {
				continue
			}
		default:
			if status == api.Stopped || (req.Action == "freeze" && status == api.Frozen) {
				continue
			}
		}
		names, urls = append(names, i.Name), append(urls, url("", i.Name))
	}
	return &operation.Task{
		Description: description,
		Resources:   map[string][]string{"instances": urls},
		Bound:       stateBound(req),
		Run: func(ctx context.Context, _ operation.Progress) error {
			errs := make([]error, len(names))
			sideBySide(names, func(n int, name string) {
				if err := act(ctx, project, name); err != nil {
					errs[n] = fmt.Errorf("Instance: %s: %w", name, err)
				}
			})
			if err := errors.Join(errs...); err != nil {
				return fmt.Errorf("The following instances failed to update state:\n%w", err)
			}
			return nil
		},
	}, nil
}
