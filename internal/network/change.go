package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/network/bridge"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/netstate"
	"github.com/berthd/berth/internal/store"
)

// Instants between the steps of a change.
var (
	createBegun   = fault.New("network.create.begun")
	createUp      = fault.New("network.create.up")
	deleteBegun   = fault.New("network.delete.begun")
	deleteDown    = fault.New("network.delete.down")
	deleteRemoved = fault.New("network.delete.removed")
	renameBegun   = fault.New("network.rename.begun")
	renameDown    = fault.New("network.rename.down")
	renameMoved   = fault.New("network.rename.moved")
	renameUp      = fault.New("network.rename.up")
	updateUp      = fault.New("network.update.up")
)

// change is what the journal keeps of a change under way.
type change struct {
	Project string `json:"project"`
	Name    string `json:"name"`
	New     string `json:"new,omitempty"`
}

const (
	kindCreate = "network.create"
	kindDelete = "network.delete"
	kindRename = "network.rename"
)

// Create makes a network and brings it up.
func (s *Service) Create(ctx context.Context, project string, req api.NetworksPost) error {
	if err := checkName(req.Name); err != nil {
		return err
	}
	if req.Type == "" {
		req.Type = "bridge"
	}
	if err := checkType(req.Type); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byInterface(req.Name); ok {
		return api.BadRequest("The network already exists")
	}
	r := record{Project: project, Name: req.Name, Type: req.Type, Description: req.Description,
		Config: clean(req.Config), HWAddr: randomMAC()}
	if err := validate(r.Name, r.Config); err != nil {
		return err
	}
	if _, ok := netstate.Find(r.Name); ok {
		return api.BadRequest("Network interface %q already exists", r.Name)
	}
	if err := s.fill(&r, true); err != nil {
		return err
	}
	if err := s.create(ctx, r); err != nil {
		return err
	}
	s.Events.Lifecycle(ctx, project, "network-created", "/1.0/networks/"+r.Name, nil)
	return nil
}

func (s *Service) create(ctx context.Context, r record) error {
	entry, err := s.Journal.Begin(ctx, kindCreate, change{Project: r.Project, Name: r.Name})
	if err != nil {
		return err
	}
	err = createBegun.Hit()
	if err == nil {
		err = s.up(ctx, r)
	}
	if err == nil {
		err = createUp.Hit()
	}
	if err == nil {
		_, err = s.Store.Commit(ctx, s.table.Create(&r, r.Project, r.Name), entry.Done())
	}
	if err != nil {
		undo := context.WithoutCancel(ctx)
		s.note(undo, r, nil)
		if uerr := s.remove(undo, r.Name); uerr != nil {
			return errors.Join(err, uerr) // the journal's entry stays, for the next start
		}
		return errors.Join(err, entry.Close(undo))
	}
	return nil
}

// remove takes all of a network from the host.
func (s *Service) remove(ctx context.Context, name string) error {
	if err := bridge.Down(ctx, name, s.dir(name)); err != nil {
		return err
	}
	if err := deleteDown.Hit(); err != nil {
		return err
	}
	s.forget(name)
	return os.RemoveAll(s.dir(name))
}

// Update replaces a network's configuration and description, and the network follows at once.
func (s *Service) Update(ctx context.Context, project, name string, put api.NetworkPut, check func(store.Revision) error) error {
	return s.update(ctx, project, name, check, func(r *record) {
		r.Description, r.Config = put.Description, clean(put.Config)
	})
}

// Patch is a partial change; a nil field stays.
type Patch struct {
	Description *string           `json:"description"`
	Config      map[string]string `json:"config"`
}

// Patch merges keys into a network's configuration; an empty value removes one.
func (s *Service) Patch(ctx context.Context, project, name string, patch Patch, check func(store.Revision) error) error {
	return s.update(ctx, project, name, check, func(r *record) {
		if patch.Description != nil {
			r.Description = *patch.Description
		}
		merged := clean(r.Config)
		maps.Copy(merged, patch.Config)
		r.Config = clean(merged)
	})
}

// update changes a record. A start brings each network to its record, so an update that is cut off needs no journal:
// before the commit the next start puts the old state back, after it there is nothing left to do.
func (s *Service) update(ctx context.Context, project, name string, check func(store.Revision) error, edit func(*record)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	row, err := s.row(project, name)
	if err != nil {
		return err
	}
	if check != nil {
		if err := check(row.Revision); err != nil {
			return err
		}
	}
	r := *row.Value
	edit(&r)
	if err := validate(name, r.Config); err != nil {
		return err
	}
	if err := s.fill(&r, false); err != nil {
		return err
	}
	if err := s.apply(ctx, row, r); err != nil {
		return err
	}
	s.Events.Lifecycle(ctx, project, "network-updated", "/1.0/networks/"+name, nil)
	return nil
}

func (s *Service) apply(ctx context.Context, row store.Row[record], r record) error {
	var err error
	if !maps.Equal(r.Config, row.Value.Config) {
		if err = s.up(ctx, r); err == nil {
			err = updateUp.Hit()
		}
	}
	if err == nil {
		_, err = s.Store.Commit(ctx, s.table.Replace(row, &r))
	}
	if err != nil {
		if uerr := s.up(context.WithoutCancel(ctx), *row.Value); uerr != nil {
			slog.Error("Network did not go back to what it was", "network", r.Name, "err", uerr)
		}
		return err
	}
	if r.Config["dns.mode"] != row.Value.Config["dns.mode"] {
		if err := s.renameHosts(r); err != nil {
			return fmt.Errorf("register names on network %s: %w", r.Name, err)
		}
	}
	now := split(r.Config["bridge.external_interfaces"])
	for _, port := range split(row.Value.Config["bridge.external_interfaces"]) {
		if !slices.Contains(now, port) {
			if err := bridge.DetachPort(r.Name, port); err != nil {
				return fmt.Errorf("take %s out of the bridge: %w", port, err)
			}
		}
	}
	return nil
}

// Rename gives a network that nothing uses another name.
func (s *Service) Rename(ctx context.Context, project, name string, req api.NetworkPost) error {
	s.mu.Lock()
	defer s.mu.Unlock()
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
	s.Events.Lifecycle(ctx, project, "network-renamed", "/1.0/networks/"+req.Name, map[string]any{"old_name": name})
	return nil
}

func (s *Service) rename(ctx context.Context, row store.Row[record], name string) error {
	old, r := *row.Value, *row.Value
	r.Name = name
	c := change{Project: old.Project, Name: old.Name, New: name}
	entry, err := s.Journal.Begin(ctx, kindRename, c)
	if err != nil {
		return err
	}
	steps := []func() error{
		renameBegun.Hit,
		func() error { return bridge.Down(ctx, old.Name, s.dir(old.Name)) },
		renameDown.Hit,
		func() error { s.forget(old.Name); return os.Rename(s.dir(old.Name), s.dir(name)) },
		renameMoved.Hit,
		func() error { return s.up(ctx, r) },
		renameUp.Hit,
		func() error {
			_, err := s.Store.Commit(ctx, s.table.Remove(row.Path...), s.table.Create(&r, r.Project, name), entry.Done())
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			undo := context.WithoutCancel(ctx)
			s.note(undo, r, nil)
			if uerr := errors.Join(s.undoRename(undo, c), s.up(undo, old)); uerr != nil {
				return errors.Join(err, uerr)
			}
			return errors.Join(err, entry.Close(undo))
		}
	}
	s.note(ctx, old, nil)
	return nil
}

func (s *Service) undoRename(ctx context.Context, c change) error {
	s.forget(c.New)
	if err := bridge.Down(ctx, c.New, s.dir(c.New)); err != nil {
		return err
	}
	if _, err := os.Stat(s.dir(c.New)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(s.dir(c.Name)); err == nil {
		return os.RemoveAll(s.dir(c.New))
	}
	return os.Rename(s.dir(c.New), s.dir(c.Name))
}

// Delete takes a network that nothing uses away.
func (s *Service) Delete(ctx context.Context, project, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	row, err := s.row(project, name)
	if err != nil {
		return err
	}
	if len(s.UsedBy(project, name)) > 0 {
		return api.BadRequest("The network is currently in use")
	}
	if err := s.delete(ctx, row); err != nil {
		return err
	}
	s.Events.Lifecycle(ctx, project, "network-deleted", "/1.0/networks/"+name, nil)
	return nil
}

func (s *Service) delete(ctx context.Context, row store.Row[record]) error {
	r := *row.Value
	entry, err := s.Journal.Begin(ctx, kindDelete, change{Project: r.Project, Name: r.Name})
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		deleteBegun.Hit,
		func() error { return s.remove(ctx, r.Name) },
		deleteRemoved.Hit,
		func() error {
			_, err := s.Store.Commit(ctx, s.table.Remove(row.Path...), entry.Done())
			return err
		},
	} {
		if err := step(); err != nil {
			undo := context.WithoutCancel(ctx)
			if uerr := s.up(undo, r); uerr != nil {
				return errors.Join(err, uerr)
			}
			return errors.Join(err, entry.Close(undo))
		}
	}
	s.note(ctx, r, nil)
	return nil
}

// registerRecovery says what becomes of changes that were cut off: a creation and a rename are undone, a deletion
// is finished. Start then brings the networks that are left to their records.
func (s *Service) registerRecovery() {
	handle := func(kind string, f func(context.Context, change) error) {
		s.Journal.Handle(kind, func(ctx context.Context, data json.RawMessage) error {
			var c change
			if err := json.Unmarshal(data, &c); err != nil {
				return err
			}
			if checkName(c.Name) != nil || c.New != "" && checkName(c.New) != nil {
				return fmt.Errorf("invalid name in the journal: %+v", c)
			}
			return f(ctx, c)
		})
	}
	handle(kindCreate, func(ctx context.Context, c change) error {
		if _, ok := s.byInterface(c.Name); ok {
			return nil // made again since
		}
		return s.remove(ctx, c.Name)
	})
	handle(kindDelete, func(ctx context.Context, c change) error {
		if err := s.remove(ctx, c.Name); err != nil {
			return err
		}
		_, err := s.Store.Commit(ctx, s.table.Remove(c.Project, c.Name))
		return err
	})
	handle(kindRename, s.undoRename)
}
