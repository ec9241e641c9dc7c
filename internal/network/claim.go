package network

import (
	"context"
	"time"

	"github.com/berthd/berth/internal/lock"
)

// undoWait bounds an undo, which goes on although the request that failed may have ended.
const undoWait = 2 * time.Minute

// undoing is the context of an undo.
func undoing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), undoWait)
}

// claim takes networks for a change, and the interfaces of their names. Others go on meanwhile: what all of them share is kept apart where it is touched.
func (s *Service) claim(ctx context.Context, action, project string, names ...string) (release func(), err error) {
	var wants []lock.Want
	for _, name := range names {
		wants = append(wants, lock.Exclusive(lock.ForNetwork(project, name)), lock.Exclusive(lock.ForInterface(name)))
	}
	held, err := s.Locks.Acquire(ctx, lock.Claim{Action: action, Patience: lock.Long}, wants...)
	if err != nil {
		return nil, err
	}
	return held.Release, nil
}
