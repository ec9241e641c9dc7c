package project

import (
	"context"
	"errors"

	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

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

// commitNamed commits ops together with those that named makes of the trust store. What it names may change meanwhile for other reasons; then
// they are made anew.
func (s *Service) commitNamed(ctx context.Context, ops []store.Op, named func(CertificatesOf) []store.Op) error {
	const tries = 16 // a conflict may be about ops, too
	for try := 1; ; try++ {
		all := ops
		if s.Certificates != nil {
			all = append(ops[:len(ops):len(ops)], named(s.Certificates)...)
		}
		_, err := s.Store.Commit(ctx, all...)
		if !errors.Is(err, store.ErrConflict) || try == tries || ctx.Err() != nil {
			return err
		}
	}
}
