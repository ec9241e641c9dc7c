package project

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/berthd/berth/api"
)

// admissions are what has been admitted to projects and is not in the store yet.
type admissions struct {
	// Mutex is held from the look at what is in a project until what is added to it is noted here, or its limits are in the store. Whoever
	// has it waits for nobody.
	sync.Mutex
	last    int
	pending map[string]map[int]Contents // by project and number
}

// Admit asks whether a project may have what is about to be made or changed in it. It counts as there until the release, which comes when
// it is in the store, or will not be: of many who ask for the last place, one gets it. What it changes counts until then as it was, too: what
// is given up is free for others once it is. action is what is asked for: "instance creation".
// Errors are api.BadRequest, api.Forbidden where the project is restricted, and api.NotFound where there is no such project.
func (s *Service) Admit(_ context.Context, action, name string, change Contents) (release func(), err error) {
	s.admissions.Lock()
	defer s.admissions.Unlock()
	return s.admitNow(action, name, change)
}

// admitNow is Admit for who holds the admissions.
func (s *Service) admitNow(action, name string, change Contents) (release func(), err error) {
	if err := s.mayHave(action, name, change); err != nil {
		return nil, err
	}
	n := s.admissions.note(name, change)
	return func() {
		s.admissions.Lock()
		defer s.admissions.Unlock()
		s.admissions.forget(name, n)
	}, nil
}

// mayHave fails if a project may not have what is about to be made or changed in it. The caller holds the admissions.
func (s *Service) mayHave(action, name string, change Contents) error {
	row, err := s.row(name)
	if err != nil {
		return err
	}
	for _, i := range change.Instances {
		if err := refused(row.Value.Config, i.Needs); err != nil {
			return fmt.Errorf("Failed checking if %s allowed: %w", action, err)
		}
	}
	for _, p := range change.Profiles {
		if err := refused(row.Value.Config, p.Needs); err != nil {
			return fmt.Errorf("Failed checking if %s allowed: %w", action, err)
		}
	}
	if limited(row.Value.Config) {
		return s.admit(action, name, row.Value.Config, change)
	}
	return nil
}

// note counts a change as there until it is forgotten by its number.
func (a *admissions) note(name string, change Contents) (number int) {
	if a.pending == nil {
		a.pending = map[string]map[int]Contents{}
	}
	if a.pending[name] == nil {
		a.pending[name] = map[int]Contents{}
	}
	a.last++
	a.pending[name][a.last] = change
	return a.last
}

func (a *admissions) forget(name string, number int) {
	delete(a.pending[name], number)
	if len(a.pending[name]) == 0 {
		delete(a.pending, name)
	}
}

// contents is what is in a project with what has been admitted to it. The caller holds the admissions.
func (s *Service) contents(name string) Contents { return s.contentsAfter(name, Contents{}) }

// contentsAfter is contents after one more change.
func (s *Service) contentsAfter(name string, change Contents) Contents {
	c := s.Contents(name).with(change)
	pending := s.admissions.pending[name]
	for _, n := range slices.Sorted(maps.Keys(pending)) {
		c = c.beside(pending[n])
	}
	return c
}

// limited tells whether a project has any limit.
func limited(c map[string]string) bool {
	return slices.ContainsFunc(measures, func(m measure) bool { return c[m.key] != "" })
}

func (s *Service) admit(action, name string, config map[string]string, change Contents) error {
	after := s.contentsAfter(name, change)
	for _, m := range measures {
		limit := config[m.key]
		if limit == "" {
			continue
		}
		used, most, err := m.compare(after, name, limit)
		if err != nil {
			return fmt.Errorf("Failed checking if %s allowed: Failed getting usage of project entities: %w", action, err)
		}
		if used > most {
			return m.exceeded(action, name, limit)
		}
	}
	return nil
}

// compare tells what a project has of a resource, and what it may have.
func (m measure) compare(c Contents, name, limit string) (used, most int64, err error) {
	if most, err = m.parse(limit); err != nil {
		return 0, 0, err
	}
	used, err = m.of(c, name, true)
	return used, most, err
}

// exceeded is the refusal of what would be more than a limit.
func (m measure) exceeded(action, name, limit string) error {
	switch m.key {
	case "limits.instances":
		return api.BadRequest("Reached maximum number of instances in project %q (%s=%s)", name, m.key, limit)
	case "limits.containers":
		return api.BadRequest("Reached maximum number of instances of type \"container\" in project %q (%s=%s)", name, m.key, limit)
	case "limits.virtual-machines":
		return api.BadRequest("Reached maximum number of instances of type \"virtual-machine\" in project %q (%s=%s)", name, m.key, limit)
	}
	return api.BadRequest("Failed checking if %s allowed: Reached maximum aggregate value %q for %q in project %q", action, limit, m.key, name)
}

// checkLimits refuses limits that what is in the project exceeds already, or of which it could not be said whether it does. The caller holds
// the admissions.
func (s *Service) checkLimits(name string, was, now map[string]string) error {
	var c *Contents
	for _, m := range measures {
		limit := now[m.key]
		if limit == "" || limit == was[m.key] {
			continue
		}
		if c == nil {
			contents := s.contents(name)
			c = &contents
		}
		used, most, err := m.compare(*c, name, limit)
		if err != nil {
			return err
		}
		if used <= most {
			continue
		}
		switch m.key {
		case "limits.instances":
			return api.BadRequest("Can't change limits.instances in project %q: \"limits.instances\" is too low: there currently are %d total instances in project %q", name, used, name)
		case "limits.containers", "limits.virtual-machines":
			kind := map[string]string{"limits.containers": "container", "limits.virtual-machines": "virtual-machine"}[m.key]
			return api.BadRequest("Can't change %q in project %q: %q is too low: there currently are %d instances of type %s in project %q", m.key, name, m.key, used, kind, name)
		}
		return api.BadRequest("%q is too low: current total is %q", m.key, m.show(used))
	}
	return nil
}

// State tells what a project uses of each resource, and what it may use: -1 where there is no limit (api.NotFound).
func (s *Service) State(name string) (*api.ProjectState, error) {
	row, err := s.row(name)
	if err != nil {
		return nil, err
	}
	state, c := &api.ProjectState{Resources: map[string]api.ProjectStateResource{}}, s.Contents(name)
	for _, m := range measures {
		r := api.ProjectStateResource{Limit: -1}
		if value := row.Value.Config[m.key]; value != "" {
			if r.Limit, err = m.parse(value); err != nil {
				return nil, fmt.Errorf("%s: %w", m.key, err)
			}
		}
		r.Usage, _ = m.of(c, name, false)
		state.Resources[m.resource] = r
	}
	return state, nil
}
