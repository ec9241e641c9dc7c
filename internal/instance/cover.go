package instance

import (
	"context"
	"slices"
	"strings"

	"github.com/berthd/berth/internal/device"
)

// uncover sees to it that no device of a running instance covers another, or takes another away that stands on it. Those beneath the place of one
// that comes or goes are added to the difference, as if they had changed; what comes does so from the top down, and what goes the other way.
func (s *Service) uncover(ctx context.Context, i *Instance, d difference, before, after map[string]device.Config) (difference, error) {
	had, has, err := s.places(ctx, i, before, after)
	if err != nil || len(had)+len(has) < 2 {
		return d, err
	}
	var moving []string
	for _, name := range d.gone {
		moving = append(moving, had[name])
	}
	for _, name := range d.added {
		moving = append(moving, has[name])
	}
	for _, name := range sortedNames(before) {
		at, kept := has[name], !slices.Contains(d.gone, name)
		if kept && at != "" && slices.ContainsFunc(moving, func(place string) bool { return place != "" && strings.HasPrefix(at, place+"/") }) {
			d.gone, d.added = append(d.gone, name), append(d.added, name)
		}
	}
	slices.SortStableFunc(d.gone, func(a, b string) int { return strings.Compare(had[b], had[a]) })
	slices.SortStableFunc(d.added, func(a, b string) int { return strings.Compare(has[a], has[b]) })
	return d, nil
}

// places are where devices appear inside a running instance, by name: those that it has and those that it is to have.
func (s *Service) places(ctx context.Context, i *Instance, before, after map[string]device.Config) (had, has map[string]string, err error) {
	had, has = map[string]string{}, map[string]string{}
	var targets []string
	place := func(places map[string]string, devices map[string]device.Config) {
		for name, cfg := range devices {
			m, ok := s.Modules[cfg["type"]].(device.Placer)
			if !ok || m.Place(cfg) == "" {
				continue
			}
			places[name] = m.Place(cfg)
			if !slices.Contains(targets, places[name]) {
				targets = append(targets, places[name])
			}
		}
	}
	place(had, before)
	place(has, after)
	if len(targets) < 2 {
		return had, has, nil
	}
	led, err := s.Runtime.Resolve(ctx, i.id(), targets)
	if err != nil {
		return nil, nil, err
	}
	for _, places := range []map[string]string{had, has} {
		for name, at := range places {
			places[name] = led[slices.Index(targets, at)]
		}
	}
	return had, has, nil
}
