package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/driver/network/bridge"
	"github.com/berthd/berth/internal/store"
)

// Update replaces a network's configuration and description, and the network follows at once.
func (s *Service) Update(ctx context.Context, project, name string, put api.NetworkPut, check func(store.Revision) error) error {
	return s.update(ctx, project, name, check, func(r *record) {
		r.Description, r.Config = put.Description, config.WithoutEmpty(put.Config)
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
		merged := config.WithoutEmpty(r.Config)
		maps.Copy(merged, patch.Config)
		r.Config = config.WithoutEmpty(merged)
	})
}

// update changes a record. A start brings each network to its record, so an update that is cut off needs no journal but
// for ports: before the commit the next start puts the old state back, after it there is nothing left to do.
func (s *Service) update(ctx context.Context, project, name string, check func(store.Revision) error, edit func(*record)) error {
	project, err := s.findFor(ctx, project, name, access.CanEdit)
	if err != nil {
		return err
	}
	release, err := s.claim(ctx, "update", project, name)
	if err != nil {
		return err
	}
	defer release()
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
	defer s.filled(r)
	if maps.Equal(r.Config, row.Value.Config) {
		_, err = s.Store.Commit(ctx, s.table.Replace(row, &r))
	} else {
		err = s.apply(ctx, row, r)
	}
	if err != nil {
		return err
	}
	s.Events.Lifecycle(ctx, project, "network-updated", url(project, name), nil)
	return nil
}

// apply brings the network to a changed configuration and keeps that; if it cannot, all is as before.
func (s *Service) apply(ctx context.Context, row store.Row[record], r record) error {
	ports, err := s.beginPorts(ctx, row.Value, &r)
	if err != nil {
		return err
	}
	if err = s.up(ctx, r); err == nil {
		err = updateUp.Hit()
	}
	if err == nil {
		_, err = s.Store.Commit(ctx, s.table.Replace(row, &r))
	}
	if err != nil {
		undo, cancel := undoing(ctx)
		defer cancel()
		if uerr := errors.Join(s.up(undo, *row.Value), ports.detach(undo, row.Value)); uerr != nil {
			slog.Error("Network did not go back to what it was", "network", r.Name, "err", uerr)
		}
		return err
	}
	if err := ports.detach(ctx, &r); err != nil {
		return fmt.Errorf("take a port out of the bridge: %w", err)
	}
	if r.Config["dns.mode"] != row.Value.Config["dns.mode"] {
		if err := s.renameHosts(ctx, r); err != nil {
			return fmt.Errorf("register names on network %s: %w", r.Name, err)
		}
	}
	return nil
}

// ports are the external interfaces that an update brings to the bridge, or takes from it.
type ports struct {
	names []string
	entry interface{ Close(context.Context) error } // of the journal; nil without names
}

// beginPorts notes in the journal which ports an update is about to touch: a port of the bridge does not show who attached it.
func (s *Service) beginPorts(ctx context.Context, old, new *record) (*ports, error) {
	before, after := split(old.Config["bridge.external_interfaces"]), split(new.Config["bridge.external_interfaces"])
	p := &ports{}
	for _, name := range append(slices.Clone(before), after...) {
		same := slices.Contains(before, name) == slices.Contains(after, name)
		if !same && (slices.Contains(before, name) || !bridge.HasPort(old.Name, name)) {
			p.names = append(p.names, name)
		}
	}
	if len(p.names) == 0 {
		return p, nil
	}
	entry, err := s.Journal.Begin(ctx, kindUpdate, change{Project: old.Project, Name: old.Name, UUID: old.UUID, Ports: p.names})
	p.entry = entry
	return p, err
}

// detach takes the ports out of the bridge that the kept record does not name, and closes the journal's entry.
func (p *ports) detach(ctx context.Context, kept *record) error {
	if err := detachPorts(kept, p.names); err != nil || p.entry == nil {
		return err
	}
	return p.entry.Close(ctx)
}

func detachPorts(kept *record, names []string) error {
	stay := split(kept.Config["bridge.external_interfaces"])
	for _, name := range names {
		if slices.Contains(stay, name) {
			continue
		}
		if err := bridge.DetachPort(kept.Name, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
