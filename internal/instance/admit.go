package instance

import (
	"context"
	"maps"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// Contents lists a project's instances for its limits, those that are being made among them.
func (s *Service) Contents(of string) []project.Instance {
	var all []project.Instance
	for _, i := range s.rows(of) {
		all = append(all, s.counted(i, s.effectiveOf(i)))
	}
	return all
}

func (s *Service) counted(i *Instance, e *effective) project.Instance {
	return project.Instance{Name: i.Name, VM: i.Type == api.InstanceTypeVM, Config: e.Config, Root: e.Devices[e.Root],
		Needs: func() []project.Need { return s.needs(i, e) }}
}

// admit asks the limits of its project whether an instance may be as it is about to be. Until the release it counts as if it were; by then
// it is in the store.
func (s *Service) admit(ctx context.Context, action string, i *Instance, e *effective) (release func(), err error) {
	return s.Projects.Admit(ctx, action, i.Project, project.Contents{Instances: []project.Instance{s.counted(i, e)}})
}

// admitAll is admit for the instances that follow a profile, in as many projects as they are in.
func (s *Service) admitAll(ctx context.Context, action string, rows []store.Row[Instance], after func(*Instance) *effective) (release func(), err error) {
	changes := map[string]project.Contents{}
	for _, row := range rows {
		change := changes[row.Value.Project]
		change.Instances = append(change.Instances, s.counted(row.Value, after(row.Value)))
		changes[row.Value.Project] = change
	}
	var releases []func()
	release = func() {
		for _, r := range releases {
			r()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		one, err := s.Projects.Admit(ctx, action, name, changes[name])
		if err != nil {
			release()
			return nil, err
		}
		releases = append(releases, one)
	}
	return release, nil
}
