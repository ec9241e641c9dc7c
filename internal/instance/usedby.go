package instance

import (
	"context"
	"fmt"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/lock"
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

// overlay shows one profile as it is about to be.
type overlay struct {
	Profiles
	project, name string
	config        map[string]string
	devices       map[string]device.Config
}

func (o overlay) Definition(project, name string) (map[string]string, map[string]device.Config, bool) {
	if project == o.project && name == o.name {
		return o.config, o.devices, true
	}
	return o.Profiles.Definition(project, name)
}

// ChangeProfile carries every instance that uses a profile over to a new content of it. All are checked first; then
// keep writes the profile, and running instances are changed live.
func (s *Service) ChangeProfile(ctx context.Context, project, name string, c map[string]string, devices map[string]device.Config,
	keep func(context.Context) error,
) error {
	future := &Service{Deps: s.Deps, instances: s.instances, snapshots: s.snapshots, background: s.background}
	future.Profiles = overlay{Profiles: s.Profiles, project: project, name: name, config: c, devices: devices}
	type step struct {
		instance      *Instance
		before, after *effective
	}
	var steps []step
	for _, i := range s.rows(project) {
		if !slices.Contains(i.Profiles, name) {
			continue
		}
		before := s.effectiveOf(i)
		after, err := future.check(ctx, i, i)
		if err != nil {
			if root, _, _ := rootDevice(future.effectiveOf(i).Devices); root == "" || future.effectiveOf(i).Devices[root]["pool"] != i.Pool {
				return api.BadRequest("At least one instance relies on this profile's root disk device")
			}
			return err
		}
		steps = append(steps, step{i, before, after})
	}
	if err := keep(ctx); err != nil {
		return err
	}
	var failed error
	for _, st := range steps {
		if err := s.followProfile(ctx, st.instance, st.before, st.after); err != nil {
			s.Log.Error("An instance could not follow its profile", "instance", st.instance.Name, "profile", name, "err", err)
			failed = fmt.Errorf("The following instances failed to update (profile change still saved):\n - Project: %s, Instance: %s: %w",
				st.instance.Project, st.instance.Name, err)
		}
	}
	return failed
}

func (s *Service) followProfile(ctx context.Context, i *Instance, before, after *effective) error {
	l, err := s.acquire(ctx, i.Project, i.Name, "update", lock.Long)
	if err != nil {
		return err
	}
	defer l.Release()
	row, err := s.get(i.Project, i.Name)
	if err != nil {
		return err
	}
	next := row.Value.clone()
	return s.transition(ctx, row.Value, next, before, after, func(ctx context.Context, with ...store.Op) error {
		return s.modify(ctx, i.Project, i.Name, func(i *Instance) error {
			*i = *next
			return nil
		}, with...)
	})
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
