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

// profileSnapshots are the snapshots that name a profile, of instances that may use it no more.
func (s *Service) profileSnapshots(home, profile string) []store.Row[Snapshot] {
	var named []store.Row[Snapshot]
	for _, one := range s.Projects.Sharing(project.Profiles, home) {
		for _, row := range s.snapshots.List(one) {
			if slices.Contains(row.Value.rest.body.Profiles, profile) {
				named = append(named, row)
			}
		}
	}
	return named
}

// renamed is an instance or a snapshot of one whose profiles have other names.
type renamed struct {
	path     []string
	was, now []string
}

// RenameProfile implements profile.Instances.
func (s *Service) RenameProfile(home, old, name string) (ops []store.Op, back func() []store.Op) {
	var instances, snapshots []renamed
	for _, row := range s.profileUsers(home, old) {
		r := renamed{row.Path, row.Value.Profiles, replaced(row.Value.Profiles, old, name)}
		ops, instances = append(ops, s.withProfiles(row, r.now)), append(instances, r)
	}
	for _, row := range s.profileSnapshots(home, old) {
		names := row.Value.rest.body.Profiles
		r := renamed{row.Path, names, replaced(names, old, name)}
		ops, snapshots = append(ops, s.snapshotWithProfiles(row, r.now)), append(snapshots, r)
	}
	return ops, func() (ops []store.Op) {
		for _, r := range instances {
			if row, ok := s.instances.Get(r.path...); ok && slices.Equal(row.Value.Profiles, r.now) {
				ops = append(ops, s.withProfiles(row, r.was))
			}
		}
		for _, r := range snapshots {
			if row, ok := s.snapshots.Get(r.path...); ok && slices.Equal(row.Value.rest.body.Profiles, r.now) {
				ops = append(ops, s.snapshotWithProfiles(row, r.was))
			}
		}
		return ops
	}
}

func (s *Service) withProfiles(row store.Row[Instance], profiles []string) store.Op {
	next := row.Value.clone()
	next.Profiles = slices.Clone(profiles)
	return s.instances.Replace(row, next)
}

func (s *Service) snapshotWithProfiles(row store.Row[Snapshot], profiles []string) store.Op {
	next := row.Value.body().clone()
	next.Profiles = slices.Clone(profiles)
	return s.snapshots.Replace(row, row.Value.withBody(next))
}

// replaced are names with another one in place of one of them.
func replaced(names []string, old, name string) []string {
	next := slices.Clone(names)
	for n := range next {
		if next[n] == old {
			next[n] = name
		}
	}
	return next
}
