package image

import (
	"context"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// What an image says of profiles are names in its project, which it follows as instances do: they are held while they come into a record, changed
// where a profile is renamed, and taken out where one is deleted.

func (s *Service) checkProfiles(ctx context.Context, project string, names []string) error {
	if s.HasProfile == nil {
		return nil
	}
	for _, name := range names {
		if !s.HasProfile(ctx, project, name) {
			return api.BadRequest("Profile '%s' doesn't exist", name)
		}
	}
	return nil
}

// holdProfiles makes sure that there are profiles, under these names, until the release. The context is for what is claimed meanwhile.
func (s *Service) holdProfiles(ctx context.Context, action, of string, names []string) (context.Context, func(), error) {
	if s.HasProfile == nil || len(names) == 0 {
		return ctx, func() {}, nil
	}
	home := s.Projects.Effective(project.Profiles, of)
	var wants []lock.Want
	for _, name := range names {
		wants = append(wants, lock.Shared(lock.ForProfile(home, name)))
	}
	held, err := s.Locks.Acquire(ctx, lock.Claim{Action: action, Brief: true, Patience: lock.Long}, wants...)
	if err != nil {
		return ctx, nil, err
	}
	if err := s.checkProfiles(ctx, of, names); err != nil {
		held.Release()
		return ctx, nil, err
	}
	return held.Context(ctx), held.Release, nil
}

// FollowProfile implements profile.Images.
func (s *Service) FollowProfile(home, old, name string) (ops []store.Op) {
	for _, of := range s.Projects.Sharing(project.Profiles, home) {
		for _, row := range s.images.List(of) {
			if !slices.Contains(row.Value.Profiles, old) {
				continue
			}
			next := *row.Value
			next.Profiles = []string{}
			for _, one := range row.Value.Profiles {
				if one == old {
					one = name
				}
				if one != "" {
					next.Profiles = append(next.Profiles, one)
				}
			}
			ops = append(ops, s.images.Replace(row, &next))
		}
	}
	return ops
}
