package network

import (
	"context"
	"errors"
	"os"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/driver/network/bridge"
	"github.com/berthd/berth/internal/netstate"
	"github.com/berthd/berth/internal/store"
)

// Rename gives a network that nothing uses another name.
func (s *Service) Rename(ctx context.Context, project, name string, req api.NetworkPost) error {
	project, err := s.findFor(ctx, project, name, access.CanEdit)
	if err != nil {
		return err
	}
	release, err := s.claim(ctx, "rename", project, name, req.Name)
	if err != nil {
		return err
	}
	defer release()
	row, err := s.row(project, name)
	if err != nil {
		return err
	}
	if len(s.UsedBy(project, name)) > 0 {
		return api.BadRequest("Network is currently in use")
	}
	if req.Name == "" {
		return api.BadRequest("New network name not provided")
	}
	if err := checkName(req.Name); err != nil {
		return err
	}
	if _, ok := s.byInterface(req.Name); ok {
		return api.Conflict("Network %q already exists", req.Name)
	}
	if _, ok := netstate.Find(req.Name); ok {
		return api.BadRequest("Network interface %q already exists", req.Name)
	}
	if err := s.rename(ctx, row, req.Name); err != nil {
		return err
	}
	s.Events.Lifecycle(ctx, project, "network-renamed", url(project, req.Name), map[string]any{"old_name": name})
	return nil
}

func (s *Service) rename(ctx context.Context, row store.Row[record], name string) error {
	old, r := *row.Value, *row.Value
	r.Name = name
	c := change{Project: old.Project, Name: old.Name, New: name, UUID: old.UUID}
	entry, err := s.Journal.Begin(ctx, kindRename, c)
	if err != nil {
		return err
	}
	reopen := s.closeHosts(old.Name)
	defer reopen()
	steps := []func() error{
		renameBegun.Hit,
		func() error { return bridge.Down(ctx, old.Name, old.UUID, s.dir(old.Name)) },
		renameDown.Hit,
		func() error { return moveFolder(s.dir(old.Name), s.dir(name)) },
		renameMoved.Hit,
		func() error { return s.up(ctx, r) },
		renameUp.Hit,
		func() error {
			_, err := s.Store.Commit(ctx, s.table.RemoveAt(row.Revision, row.Path...), s.table.Create(&r, r.Project, name), entry.Done())
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			undo, cancel := undoing(ctx)
			defer cancel()
			s.gone(undo, r)
			if uerr := errors.Join(s.undoRename(undo, c), s.up(undo, old)); uerr != nil {
				return errors.Join(err, uerr)
			}
			return errors.Join(refusal(err, name), entry.Close(undo))
		}
	}
	s.gone(ctx, old)
	return nil
}

// undoRename takes back what a rename has made, and nothing of another network that has one of the names.
func (s *Service) undoRename(ctx context.Context, c change) error {
	dir := s.dir(c.New)
	moved, err := ownsFolder(dir, c.UUID)
	if err != nil {
		return err
	}
	if !moved {
		return bridge.Down(ctx, c.New, c.UUID, "")
	}
	if err := bridge.Down(ctx, c.New, c.UUID, dir); err != nil {
		return err
	}
	if _, err := os.Stat(s.dir(c.Name)); err == nil {
		return removeFolder(dir) // it was not the folder that was moved
	}
	return moveFolder(dir, s.dir(c.Name))
}
