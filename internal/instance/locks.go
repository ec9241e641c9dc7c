package instance

import (
	"context"
	"slices"

	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

// brief are the actions that end soon: whoever wants the instance next waits for them.
var brief = []string{"update", "snapshot", "exit", "start", "adopt"}

// claim is the claim of an action. A patient one waits for long actions of others too.
func claim(action string, patience lock.Patience) lock.Claim {
	return lock.Claim{Action: action, Brief: slices.Contains(brief, action), Patience: patience}
}

// object is an instance as locks know it.
func object(project, name string) lock.Object { return lock.Of(lock.Instance, project, name) }

// acquire takes the lock of an instance for an action, with others if the action concerns more.
func (s *Service) acquire(ctx context.Context, project, name, action string, patience lock.Patience, more ...lock.Want) (*lock.Held, error) {
	return s.Locks.Acquire(ctx, claim(action, patience), append(more, lock.Exclusive(object(project, name)))...)
}

// holder returns who holds an instance, or nil.
func (s *Service) holder(i *Instance) *lock.Held { return s.Locks.Holder(object(i.Project, i.Name)) }

// hold takes the lock of an instance for an action and gives the record as it is from then on.
func (s *Service) hold(ctx context.Context, project, name, action string, patience lock.Patience, more ...lock.Want) (
	row store.Row[Instance], release func(), err error,
) {
	held, err := s.acquire(ctx, project, name, action, patience, more...)
	if err != nil {
		return row, nil, err
	}
	if row, err = s.get(project, name); err != nil {
		held.Release()
		return row, nil, err
	}
	return row, held.Release, nil
}
