package project

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/store"
)

// askedKey is the place of a project's identity in a context, by the name that it was asked for by.
type askedKey struct{ name string }

// Asked notes in a context which project has a name now. What goes on in the context is in that one or nowhere (Hold, Home): what was begun in a
// project that has gone does not come out in the next one of the name, which may be somebody else's.
func (s *Service) Asked(ctx context.Context, name string) context.Context {
	if name == api.ProjectDefault { // neither goes nor gets another name
		return ctx
	}
	row, ok := s.table.Get(name)
	if !ok || row.Value.UUID == "" {
		return ctx
	}
	return context.WithValue(ctx, askedKey{name}, row.Value.UUID)
}

// Still finds a project by its name as Check does, and not one that has the name since Asked.
func (s *Service) Still(ctx context.Context, name string) error {
	row, err := s.row(name)
	if err != nil {
		return err
	}
	if id, asked := ctx.Value(askedKey{name}).(string); asked && id != row.Value.UUID {
		return errNotFound
	}
	return nil
}

// Identify gives the projects that are older than identities theirs. Call it before anything is asked.
func (s *Service) Identify(ctx context.Context) error {
	for _, row := range s.table.List() {
		if row.Value.UUID != "" {
			continue
		}
		next := *row.Value
		next.UUID = uuid.NewString()
		if _, err := s.Store.Commit(ctx, s.table.Replace(row, &next)); err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return nil
}
