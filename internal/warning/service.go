// Package warning keeps what an administrator should know of: features that this host cannot give, and background
// work that failed.
package warning

import (
	"context"
	"log/slog"
	"sort"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/filter"
	"github.com/berthd/berth/internal/store"
)

// Severities.
const (
	Low      = "low"
	Moderate = "moderate"
	High     = "high"
)

// States of a warning.
const (
	StatusNew          = "new"
	StatusAcknowledged = "acknowledged"
	StatusResolved     = "resolved"
)

// Service keeps the warnings.
type Service struct {
	store  *store.Store
	table  *store.Table[api.Warning]
	events event.Publisher
	mu     sync.Mutex // finding a warning and writing it are one step
}

// New makes the service; it owns the table "warnings".
func New(s *store.Store, events event.Publisher) *Service {
	return &Service{store: s, table: store.NewTable[api.Warning](s, "warnings"), events: events}
}

// URL is where the API shows a warning.
func URL(id string) string { return "/1.0/warnings/" + id }

// Upsert raises a warning. One of the same kind about the same object is raised again: its count goes up, and it is new
// unless it was acknowledged. kind is a sentence: "AppArmor support has been disabled"; project and entityURL may be empty.
func (s *Service) Upsert(ctx context.Context, kind, severity, message, project, entityURL string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().UTC()
	for _, row := range s.table.List() {
		w := *row.Value
		if w.Type != kind || w.Project != project || w.EntityURL != entityURL {
			continue
		}
		w.Count++
		w.LastSeenAt, w.LastMessage = now, message
		if w.Status == StatusResolved {
			w.Status = StatusNew
		}
		_, err := s.store.Commit(ctx, s.table.Put(&w, w.UUID))
		return err
	}
	w := api.Warning{
		UUID: uuid.NewString(), Location: "none", Project: project, Type: kind, Count: 1,
		FirstSeenAt: now, LastSeenAt: now, LastMessage: message, Severity: severity, EntityURL: entityURL,
	}
	w.Status = StatusNew
	_, err := s.store.Commit(ctx, s.table.Create(&w, w.UUID))
	return err
}

// Resolve marks a kind of warning about an object as a thing of the past; that there is none is no error.
func (s *Service) Resolve(ctx context.Context, kind, project, entityURL string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resolve(ctx, func(w *api.Warning) bool {
		return w.Type == kind && w.Project == project && w.EntityURL == entityURL
	})
}

// Forget removes the warnings about an object, which has gone.
func (s *Service) Forget(ctx context.Context, project, entityURL string) error {
	return s.changeAbout(ctx, project, entityURL, func(w *api.Warning) store.Op { return s.table.Remove(w.UUID) })
}

// Move gives the warnings about an object its new URL.
func (s *Service) Move(ctx context.Context, project, from, to string) error {
	return s.changeAbout(ctx, project, from, func(w *api.Warning) store.Op {
		moved := *w
		moved.EntityURL = to
		return s.table.Put(&moved, w.UUID)
	})
}

func (s *Service) changeAbout(ctx context.Context, project, entityURL string, change func(*api.Warning) store.Op) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ops []store.Op
	for _, row := range s.table.List() {
		if row.Value.Project == project && row.Value.EntityURL == entityURL {
			ops = append(ops, change(row.Value))
		}
	}
	if len(ops) == 0 {
		return nil
	}
	_, err := s.store.CommitAll(ctx, ops) // each by itself
	return err
}

// Host is one thing about the host that is worth a warning.
type Host struct{ Type, Severity, Message string }

// ResolveAtStart raises the warnings about the host and resolves those of earlier starts that no longer hold. Warnings
// about objects are left to their owners.
func (s *Service) ResolveAtStart(ctx context.Context, host []Host) {
	holds := map[string]bool{}
	for _, h := range host {
		holds[h.Type] = true
		slog.Warn(h.Type, "detail", h.Message)
		if err := s.Upsert(ctx, h.Type, h.Severity, h.Message, "", ""); err != nil {
			slog.Error("A warning could not be written", "type", h.Type, "err", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.resolve(ctx, func(w *api.Warning) bool { return w.EntityURL == "" && w.Project == "" && !holds[w.Type] })
	if err != nil {
		slog.Error("Old warnings could not be resolved", "err", err)
	}
}

func (s *Service) resolve(ctx context.Context, match func(*api.Warning) bool) error {
	var ops []store.Op
	for _, row := range s.table.List() {
		if row.Value.Status == StatusResolved || !match(row.Value) {
			continue
		}
		w := *row.Value
		w.Status, w.LastSeenAt = StatusResolved, time.Now().UTC()
		ops = append(ops, s.table.Replace(row, &w))
	}
	if len(ops) == 0 {
		return nil
	}
	_, err := s.store.CommitAll(ctx, ops) // each by itself
	return err
}

// List returns the warnings of a project (of all if empty) that pass f, oldest first. Those of no project always belong.
func (s *Service) List(project string, f *filter.Clauses) []api.Warning {
	list := []api.Warning{}
	for _, row := range s.table.List() {
		w := row.Value
		if (project == "" || w.Project == "" || w.Project == project) && (f.Empty() || f.Match(w)) {
			list = append(list, *w)
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].FirstSeenAt.Before(list[j].FirstSeenAt) })
	return list
}

// Get returns a warning.
func (s *Service) Get(id string) (api.Warning, store.Revision, error) {
	row, ok := s.table.Get(id)
	if !ok {
		return api.Warning{}, 0, api.NotFound("Warning not found")
	}
	return *row.Value, row.Revision, nil
}

// SetStatus acknowledges a warning, or makes it new again; check is told the present revision.
func (s *Service) SetStatus(ctx context.Context, id, status string, check func(store.Revision) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	row, ok := s.table.Get(id)
	if !ok {
		return api.NotFound("Warning not found")
	}
	if err := check(row.Revision); err != nil {
		return err
	}
	if status != StatusNew && status != StatusAcknowledged && status != StatusResolved {
		return api.BadRequest("Invalid warning type %q", status)
	}
	if status != StatusNew && status != StatusAcknowledged {
		return api.Forbidden(`Status may only be set to "acknowledge" or "new"`)
	}
	w := *row.Value
	w.Status = status
	if _, err := s.store.Commit(ctx, s.table.Replace(row, &w)); err != nil {
		return err
	}
	action := "warning-reset"
	if status == StatusAcknowledged {
		action = "warning-acknowledged"
	}
	s.events.Lifecycle(ctx, w.Project, action, URL(id), nil)
	return nil
}

// Delete removes a warning.
func (s *Service) Delete(ctx context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	row, ok := s.table.Get(id)
	if !ok {
		return api.NotFound("Warning not found")
	}
	if _, err := s.store.Commit(ctx, s.table.Remove(id)); err != nil {
		return err
	}
	s.events.Lifecycle(ctx, row.Value.Project, "warning-deleted", URL(id), nil)
	return nil
}

// Open counts the warnings that are neither resolved nor acknowledged.
func (s *Service) Open() int {
	n := 0
	for _, row := range s.table.List() {
		if row.Value.Status == StatusNew {
			n++
		}
	}
	return n
}
