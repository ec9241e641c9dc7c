package project

import (
	"context"
	"errors"

	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

// namedStep is when some of very many certificates have followed a project, and others not yet.
var namedStep = fault.New("project.named.step")

// HoldAll keeps projects from being deleted or renamed until the release: for what names them without being in them. One that there is not:
// api.NotFound.
func (s *Service) HoldAll(ctx context.Context, action string, names []string) (release func(), err error) {
	var wants []lock.Want
	for _, name := range names {
		wants = append(wants, lock.Shared(lock.ForProject(name)))
	}
	held, err := s.Locks.Acquire(ctx, lock.Claim{Action: action, Patience: lock.Long}, wants...)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := s.Check(name); err != nil {
			held.Release()
			return nil, err
		}
	}
	return held.Release, nil
}

// namedAtOnce is how many ops of the trust store are in one commit, beside those of the project itself.
const namedAtOnce = 64

// commitNamed commits ops together with those that named makes of the trust store. What it names may change meanwhile for other reasons; then
// they are made anew. Where they are very many, they go in steps, and the project in the last: until then the caller holds it, so none can
// be added. begin comes before the first of several.
func (s *Service) commitNamed(ctx context.Context, ops []store.Op, named func(CertificatesOf) []store.Op, begin func() error) error {
	const tries = 16 // a conflict may be about ops, too
	begun := false
	for try := 1; ; try++ {
		var follow []store.Op
		if s.Certificates != nil {
			follow = named(s.Certificates)
		}
		if len(follow) > namedAtOnce {
			if !begun {
				if err := begin(); err != nil {
					return err
				}
				begun = true
			}
			_, err := s.Store.Commit(ctx, follow[:namedAtOnce]...)
			if err == nil {
				err = namedStep.Hit()
				try = 0
			}
			if err != nil && !errors.Is(err, store.ErrConflict) || try == tries {
				return err
			}
			continue
		}
		_, err := s.Store.Commit(ctx, append(ops[:len(ops):len(ops)], follow...)...)
		if !errors.Is(err, store.ErrConflict) || try == tries || ctx.Err() != nil {
			return err
		}
	}
}
