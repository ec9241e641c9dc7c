// Package project keeps the projects, into which a server is divided: what each has of its own, and what it shares with the project "default",
// which always exists. Effective answers that for every other package.
package project

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

// record is a project as the store keeps it, at its name.
type record struct {
	Description string            `json:"description"`
	Config      map[string]string `json:"config"`
	// UUID is which project it is, whatever its name. That of the default one says nothing.
	UUID string `json:"uuid,omitempty"`
}

// ProfilesOf is what a project needs of profiles; *profile.Service implements it. Each project with profiles of its own has one called
// default, which comes and goes with it.
type ProfilesOf interface {
	// CreateDefault is the op that makes it.
	CreateDefault(project string) store.Op
	// RemoveDefault are the ops that remove it, of which there are none if there is none.
	RemoveDefault(project string) []store.Op
	// MoveDefault are the ops that give it, with what is in it, to a project's new name; none if there is none.
	MoveDefault(project, name string) []store.Op
}

// CertificatesOf is what a project needs of the trust store, which names projects; *certificate.Service implements it.
type CertificatesOf interface {
	// RenameProject are the ops by which what names a project follows it to another name.
	RenameProject(old, renamed string) []store.Op
	// RemoveProject are the ops by which what names a project does so no more.
	RemoveProject(name string) []store.Op
}

// Deps are the parts that the service is made of.
type Deps struct {
	Store    *store.Store
	Events   event.Publisher
	Locks    *lock.Manager
	Journal  *journal.Journal
	Profiles func() ProfilesOf
	// Certificates may be nil.
	Certificates CertificatesOf
	// Users lists the URLs of what is in a project, and Contents what counts of it.
	Users    func(project string) []string
	Contents func(project string) Contents
	// EndOperations ends what runs in a project that goes, as far as it is of no use elsewhere; nil: nothing does.
	EndOperations func(ctx context.Context, project string)
	// Network is the configuration of a network of the default project (api.NotFound).
	Network func(name string) (map[string]string, error)
}

// Service is the projects.
type Service struct {
	Deps
	table      *store.Table[record]
	admissions admissions
}

// New makes the service.
func New(d Deps) *Service {
	s := &Service{Deps: d, table: store.NewTable[record](d.Store, "projects")}
	if s.Journal == nil {
		s.Journal = journal.New(d.Store)
	}
	s.Journal.Handle(kindRename, s.undoRename)
	s.guardRenames()
	return s
}

// EnsureDefault makes the record of the default project if there is none.
func (s *Service) EnsureDefault(ctx context.Context) error {
	if _, ok := s.table.Get(api.ProjectDefault); ok {
		return nil
	}
	_, err := s.Store.Commit(ctx, s.table.Create(defaultRecord(), api.ProjectDefault))
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// defaultRecord is the default project as it is before anybody changes it.
func defaultRecord() *record {
	r := &record{Description: "Default Berth project", Config: map[string]string{}}
	for _, kind := range kinds {
		r.Config[kind.key()] = "true"
	}
	return r
}

// row finds a project (api.NotFound). The default one is there before its record is.
func (s *Service) row(name string) (store.Row[record], error) {
	row, ok := s.table.Get(name)
	switch {
	case ok:
		return row, nil
	case name == api.ProjectDefault:
		return store.Row[record]{Path: []string{name}, Value: defaultRecord()}, nil
	}
	return row, errNotFound
}

var errNotFound = api.NotFound("Project not found")

// Check tells whether there is such a project (api.NotFound).
func (s *Service) Check(name string) error {
	_, err := s.row(name)
	return err
}

// Config returns a copy of a project's configuration (api.NotFound).
func (s *Service) Config(name string) (map[string]string, error) {
	row, err := s.row(name)
	if err != nil {
		return nil, err
	}
	return maps.Clone(row.Value.Config), nil
}

// Get returns a project and its version.
func (s *Service) Get(name string) (*api.Project, store.Revision, error) {
	row, err := s.row(name)
	if err != nil {
		return nil, 0, err
	}
	return s.show(row), row.Revision, nil
}

// List returns the projects of these names, as Names gives them; one that has gone is left out.
func (s *Service) List(names []string) []*api.Project {
	list := []*api.Project{}
	for _, name := range names {
		if p, _, err := s.Get(name); err == nil {
			list = append(list, p)
		}
	}
	return list
}

// Names lists the names of all projects, in order.
func (s *Service) Names() []string {
	names := []string{}
	for _, row := range s.table.List() {
		names = append(names, row.Path[0])
	}
	if n, there := slices.BinarySearch(names, api.ProjectDefault); !there {
		names = slices.Insert(names, n, api.ProjectDefault)
	}
	return names
}

func (s *Service) show(row store.Row[record]) *api.Project {
	p := &api.Project{Name: row.Path[0], UsedBy: s.Users(row.Path[0])}
	p.Description = row.Value.Description
	p.Config = maps.Clone(row.Value.Config)
	if p.Config == nil {
		p.Config = map[string]string{}
	}
	if p.UsedBy == nil {
		p.UsedBy = []string{}
	}
	return p
}

// Hold keeps a project from being deleted, renamed or given other features, until the release. Whoever makes something in a project holds it,
// before anything else, until that is kept; what is locked then is locked in the context that comes back. There is no such project, or it is
// another one than Asked has noted: api.NotFound.
func (s *Service) Hold(ctx context.Context, action, name string) (context.Context, func(), error) {
	held, err := s.Locks.Acquire(ctx, lock.Claim{Action: action, Patience: lock.Long}, lock.Shared(lock.ForProject(name)))
	if err != nil {
		return nil, nil, err
	}
	if err := s.Still(ctx, name); err != nil {
		held.Release()
		return nil, nil, err
	}
	return held.Context(ctx), held.Release, nil
}
