package instance

import (
	"slices"

	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// Users lists the URLs of the instances in some projects whose effective devices or configuration fit. It is how volumes, networks and
// images find out by whom they are used.
func (s *Service) Users(in func(project string) bool, fits func(config map[string]string, devices map[string]device.Config) bool) []string {
	var urls []string
	for _, i := range s.rows("") {
		if !in(i.Project) {
			continue
		}
		c, devices := expand(s.Profiles, i.Project, &i.Body)
		if fits(c, devices) {
			urls = append(urls, url(i.Project, i.Name))
		}
	}
	return urls
}

// Running tells whether an instance in some projects that runs has a device that fits, whatever its configuration says by now. It goes by what was
// kept when the device came, so it is right also where this daemon could not take the device over, as its pool was away.
func (s *Service) Running(in func(project string) bool, fits func(device.Config) bool) bool {
	for _, row := range s.runs.table.List() {
		if !in(row.Path[0]) {
			continue
		}
		for _, d := range row.Value.Devices {
			if fits(d.Config) {
				return true
			}
		}
	}
	return false
}

// ProfileUsers lists the URLs of the instances that use a profile.
func (s *Service) ProfileUsers(project, profile string) []string {
	urls := []string{}
	for _, row := range s.profileUsers(project, profile) {
		urls = append(urls, url(row.Value.Project, row.Value.Name))
	}
	return urls
}

// profileUsers are the instances that use a profile: of its project and of those that share it.
func (s *Service) profileUsers(home, profile string) []store.Row[Instance] {
	var users []store.Row[Instance]
	for _, one := range s.Projects.Sharing(project.Profiles, home) {
		for _, row := range s.instances.List(one) {
			if slices.Contains(row.Value.Profiles, profile) {
				users = append(users, row)
			}
		}
	}
	return users
}

// RenameProfile returns the ops that make every instance use a profile under its new name.
func (s *Service) RenameProfile(home, old, name string) []store.Op {
	var ops []store.Op
	for _, row := range s.profileUsers(home, old) {
		next := row.Value.clone()
		for n, p := range next.Profiles {
			if p == old {
				next.Profiles[n] = name
			}
		}
		ops = append(ops, s.instances.Replace(row, next))
	}
	for _, one := range s.Projects.Sharing(project.Profiles, home) {
		for _, row := range s.snapshots.List(one) {
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
	}
	return ops
}
