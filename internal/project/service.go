// Package project knows the projects. There is one, "default", which always exists.
package project

import (
	"sort"

	"github.com/berthd/berth/api"
)

// Service knows the projects.
type Service struct {
	usedBy []func(project string) []string
}

// New makes the service.
func New() *Service { return &Service{} }

// UsedBy adds a source of the URLs of what is in a project. It is for the time when the daemon is put together.
func (s *Service) UsedBy(f func(project string) []string) { s.usedBy = append(s.usedBy, f) }

// URL is where the API shows a project.
func URL(name string) string { return "/1.0/projects/" + name }

// Check tells whether there is such a project (api.NotFound).
func (s *Service) Check(name string) error {
	if name != api.ProjectDefault {
		return api.NotFound("Project not found")
	}
	return nil
}

// Get returns a project.
func (s *Service) Get(name string) (api.Project, error) {
	if err := s.Check(name); err != nil {
		return api.Project{}, err
	}
	p := api.Project{Name: name, UsedBy: []string{}}
	p.Description = "Default Berth project"
	p.Config = map[string]string{
		"features.images": "true", "features.networks": "true", "features.profiles": "true", "features.storage.volumes": "true",
	}
	for _, f := range s.usedBy {
		p.UsedBy = append(p.UsedBy, f(name)...)
	}
	sort.Strings(p.UsedBy)
	return p, nil
}

// List returns all projects.
func (s *Service) List() []api.Project {
	p, _ := s.Get(api.ProjectDefault)
	return []api.Project{p}
}
