package identity

import (
	"context"

	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// Lost tells whether rights have been taken from who had others before. What was about one object that is gone, or has another name now, was not: there
// is nothing left to be done by it. A project's name may be another one's by then.
func (s *Service) Lost(now, before access.Rights) bool {
	if before.All() {
		return !now.All()
	}
	for _, g := range now.Lost(before) {
		if g.Entity == access.Server || g.Entity == access.Project {
			return true
		}
		if _, there := s.find(g.Object); there {
			return true
		}
	}
	return false
}

// maxGuards bounds the groups that a commit depends on: what a commit may hold is bounded.
const maxGuards = 64

// Standing are the guards on what gives a caller their rights by groups; 403 if these are fewer now than those they came with. Others have none.
func (s *Service) Standing(ctx context.Context) ([]store.Op, error) {
	c := request.CallerFrom(ctx)
	if !c.ByGroups {
		return nil, nil
	}
	row, ok := s.identities.Get(c.Protocol, c.Username)
	if !ok || s.Lost(s.rights(row, c.ProviderGroups), c.Rights) {
		return nil, request.ErrNotAuthorized
	}
	guards := []store.Op{s.identities.Unchanged(row)}
	for _, id := range s.effective(row.Value, c.ProviderGroups) {
		if g, ok := s.groups.Get(id); ok && len(guards) < maxGuards {
			guards = append(guards, s.groups.Unchanged(g))
		}
	}
	return guards, nil
}

// commit writes ops for the caller of ctx, by rights that they have until it is done, and tells of them.
func (s *Service) commit(ctx context.Context, action string, o access.Object, ops ...store.Op) error {
	for _, standing := range []func(context.Context) ([]store.Op, error){s.Standing, s.Certificates.Standing} {
		guards, err := standing(ctx)
		if err == nil {
			ops, err = store.Guarded(ops, guards)
		}
		if err != nil {
			return err
		}
	}
	if _, err := s.Store.Commit(ctx, ops...); err != nil {
		return err
	}
	s.changed(ctx, action, o)
	return nil
}
