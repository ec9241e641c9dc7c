package instance

import (
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/store"
)

// Users lists the URLs of the instances of a project (or, with "", of all) whose effective devices or configuration
// fit. It is how pools, networks and images find out by whom they are used.
func (s *Service) Users(project string, fits func(config map[string]string, devices map[string]device.Config) bool) []string {
	var urls []string
	for _, i := range s.rows(project) {
		c, devices := expand(s.Profiles, i.Project, &i.Body)
		if fits(c, devices) {
			urls = append(urls, projectURL(url(i.Name), i.Project))
		}
	}
	return urls
}

// ProfileUsers lists the URLs of the instances that use a profile.
func (s *Service) ProfileUsers(project, profile string) []string {
	urls := []string{}
	for _, i := range s.rows(project) {
		if slices.Contains(i.Profiles, profile) {
			urls = append(urls, projectURL(url(i.Name), i.Project))
		}
	}
	return urls
}

func projectURL(u, project string) string {
	if project == api.ProjectDefault {
		return u
	}
	return u + "?project=" + project
}

// RenameProfile returns the ops that make every instance use a profile under its new name.
func (s *Service) RenameProfile(project, old, name string) []store.Op {
	var ops []store.Op
	for _, row := range s.instances.List(project) {
		if !slices.Contains(row.Value.Profiles, old) {
			continue
		}
		next := row.Value.clone()
		for n, p := range next.Profiles {
			if p == old {
				next.Profiles[n] = name
			}
		}
		ops = append(ops, s.instances.Replace(row, next))
	}
	for _, row := range s.snapshots.List(project) {
		if !slices.Contains(row.Value.rest.body.Profiles, old) {
			continue
		}
		next := row.Value.body().clone()
		for n, p := range next.Profiles {
			if p == old {
				next.Profiles[n] = name
			}
		}
		ops = append(ops, s.snapshots.Replace(row, newSnapshot(next, row.Value.ExpiresAt)))
	}
	return ops
}
