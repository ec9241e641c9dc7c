package network

import (
	"context"
	"errors"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/store"
)

// Delete takes a network that nothing uses away.
func (s *Service) Delete(ctx context.Context, project, name string) error {
	project, err := s.findFor(ctx, project, name, access.CanDelete)
	if err != nil {
		return err
	}
	release, err := s.claim(ctx, "delete", project, name)
	if err != nil {
		return err
	}
	defer release()
	row, err := s.row(project, name)
	if err != nil {
		return err
	}
	reopen := s.closeHosts(name) // before the look at who uses it
	defer reopen()
	if len(s.UsedBy(project, name)) > 0 {
		return api.BadRequest("The network is currently in use")
	}
	if err := s.delete(ctx, row); err != nil {
		return err
	}
	s.Events.Lifecycle(ctx, project, "network-deleted", url(project, name), nil)
	return nil
}

func (s *Service) delete(ctx context.Context, row store.Row[record]) error {
	r := *row.Value
	entry, err := s.Journal.Begin(ctx, kindDelete, change{Project: r.Project, Name: r.Name, UUID: r.UUID})
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		deleteBegun.Hit,
		func() error { return s.remove(ctx, r.Name, r.UUID) },
		deleteRemoved.Hit,
		func() error {
			_, err := s.Store.Commit(ctx, s.table.RemoveAt(row.Revision, row.Path...), entry.Done())
			return err
		},
	} {
		if err := step(); err != nil {
			undo, cancel := undoing(ctx)
			defer cancel()
			// Also if it cannot be brought up again: who wanted it deleted is told that it is there, and the next start brings it to its record.
			return errors.Join(err, entry.Close(undo), s.up(undo, r))
		}
	}
	s.gone(ctx, r)
	return nil
}
