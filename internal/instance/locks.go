package instance

import (
	"context"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

// brief are the actions that end soon: whoever wants the instance next waits for them.
var brief = []string{"update", "snapshot", "exit", "start", "adopt"}

// claim is the claim of an action. A patient one waits for long actions of others too.
func claim(action string, patience lock.Patience) lock.Claim {
	return lock.Claim{Action: action, Brief: slices.Contains(brief, action), Patience: patience}
}

// acquire takes the lock of an instance for an action, with others if the action concerns more. It fails while an unfinished change of the
// instance keeps the action back.
func (s *Service) acquire(ctx context.Context, project, name, action string, patience lock.Patience, more ...lock.Want) (*lock.Held, error) {
	s.settle(ctx, project, name, action)
	held, err := s.Locks.Acquire(ctx, claim(action, patience), append(more, lock.Exclusive(lock.ForInstance(project, name)))...)
	if err != nil {
		return nil, err
	}
	if err := s.unsettled(project, name, action); err != nil {
		held.Release()
		return nil, err
	}
	return held, nil
}

// holder returns who holds an instance, or nil.
func (s *Service) holder(i *Instance) *lock.Held {
	return s.Locks.Holder(lock.ForInstance(i.Project, i.Name))
}

// hold takes the lock of an instance for an action and gives the record as it is from then on.
func (s *Service) hold(ctx context.Context, project, name, action string, patience lock.Patience, more ...lock.Want) (
	row store.Row[Instance], release func(), err error,
) {
	held, err := s.acquire(ctx, project, name, action, patience, more...)
	if err != nil {
		return row, nil, err
	}
	if row, err = s.get(project, name); err != nil {
		held.Release()
		return row, nil, err
	}
	return row, held.Release, nil
}

// holdStopped is hold for what only concerns an instance that does not run; refusal is what is said of one that does.
func (s *Service) holdStopped(ctx context.Context, project, name, action, refusal string, more ...lock.Want) (
	row store.Row[Instance], release func(), err error,
) {
	held, err := s.acquire(ctx, project, name, action, lock.Short, more...)
	if err != nil {
		return row, nil, err
	}
	row, runs, err := s.look(ctx, project, name)
	if err == nil && runs {
		err = api.BadRequest("%s", refusal)
	}
	if err != nil {
		held.Release()
		return row, nil, err
	}
	return row, held.Release, nil
}

// holdContent claims what an instance is made of, or relies on, on top of its lock.
func (s *Service) holdContent(ctx context.Context, action string, wants ...lock.Want) (*lock.Held, error) {
	return s.Locks.Acquire(ctx, claim(action, lock.Short), wants...)
}

// holdVolume claims the volume of an instance with its snapshots, on top of its lock, to take something of it away: whoever
// copies it is not disturbed.
func (s *Service) holdVolume(ctx context.Context, action string, patience lock.Patience, i *Instance) (*lock.Held, error) {
	return s.Locks.Acquire(ctx, claim(action, patience), lock.Exclusive(i.volume().Object()))
}

// holdProfiles keeps profiles as they are, until what they give is kept with an instance that names them.
func (s *Service) holdProfiles(ctx context.Context, action, project string, names []string) (*lock.Held, error) {
	wants := make([]lock.Want, 0, len(names))
	for _, name := range names {
		wants = append(wants, lock.Shared(lock.ForProfile(s.homeOfProfiles(project), name)))
	}
	return s.Locks.Acquire(ctx, claim(action, lock.Long), wants...)
}

// holdUsed keeps what an instance's devices name: pools, networks and custom volumes, and more of the caller's.
func (s *Service) holdUsed(ctx context.Context, action string, i *Instance, more ...lock.Want) (*lock.Held, error) {
	_, devices := expand(s.Profiles, i.Project, &i.Body)
	return s.Locks.Acquire(ctx, claim(action, lock.Long), append(s.used(i.Project, devices), more...)...)
}

func (s *Service) used(of string, devices map[string]device.Config) []lock.Want {
	var wants []lock.Want
	for _, cfg := range devices {
		switch {
		case cfg["type"] == "nic":
			for _, name := range []string{cfg["network"], cfg["parent"]} {
				if name != "" {
					wants = append(wants, lock.Shared(lock.ForNetwork(s.Projects.Effective(project.Networks, of), name)))
				}
			}
		case cfg["type"] == "disk" && cfg["pool"] != "":
			wants = append(wants, lock.Shared(lock.ForPool(cfg["pool"])))
			if !isRoot(cfg) {
				vol := storage.VolumeID{Pool: cfg["pool"], Project: s.Projects.Effective(project.Volumes, of), Type: storage.VolumeCustom, Name: cfg["source"]}
				wants = append(wants, lock.Shared(vol.Object()))
			}
		}
	}
	return wants
}

// HoldUsed implements profile.Instances.
func (s *Service) HoldUsed(ctx context.Context, action, project string, devices map[string]device.Config) (release func(), err error) {
	return releaseOf(s.Locks.Acquire(ctx, claim(action, lock.Long), s.used(project, devices)...))
}

// usedByUsers wants what devices of a profile name: in the profile's project, and in that of each instance that has the profile, which may have
// networks and volumes of its own.
func (s *Service) usedByUsers(home, profile string, devices map[string]device.Config) []lock.Want {
	projects := []string{home}
	for _, row := range s.profileUsers(home, profile) {
		if !slices.Contains(projects, row.Value.Project) {
			projects = append(projects, row.Value.Project)
		}
	}
	var wants []lock.Want
	for _, one := range projects {
		wants = append(wants, s.used(one, devices)...)
	}
	return wants
}

// HoldUsers implements profile.Instances. The caller holds the profile, so that no others come: but one that is renamed while it is
// waited for has to be held by its new name. As everybody who wants the profile waits for the caller, it fails with a lock.Busy where an
// instance is not to be had soon.
func (s *Service) HoldUsers(ctx context.Context, action, project, profile string) (release func(), err error) {
	for {
		wants := s.usersOf(action, project, profile)
		held, err := s.Locks.Acquire(ctx, claim(action, lock.Soon), wants...)
		if err != nil {
			return nil, err
		}
		if slices.Equal(wants, s.usersOf(action, project, profile)) {
			return held.Release, nil
		}
		held.Release()
	}
}

// usersOf wants the instances that use a profile; for its rename, those, too, of which a snapshot names it.
func (s *Service) usersOf(action, home, profile string) (wants []lock.Want) {
	for _, row := range s.profileUsers(home, profile) {
		wants = append(wants, lock.Exclusive(lock.ForInstance(row.Value.Project, row.Value.Name)))
	}
	if action == "rename" {
		for _, row := range s.profileSnapshots(home, profile) {
			wants = append(wants, lock.Exclusive(lock.ForInstance(row.Path[0], row.Path[1])))
		}
	}
	return wants
}

// homeOfProfiles is the project that a project's profiles are in.
func (s *Service) homeOfProfiles(name string) string {
	return s.Projects.Effective(project.Profiles, name)
}

func releaseOf(held *lock.Held, err error) (release func(), _ error) {
	if err != nil {
		return nil, err
	}
	return held.Release, nil
}
