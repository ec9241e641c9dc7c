package instance

import (
	"context"
	"slices"
	"strings"

	"github.com/berthd/berth/internal/omitted"
)

// existing parts profiles that exist from those that do not: a snapshot names those of its time, and what has been deleted since must not keep
// anybody from what else is in it.
func (s *Service) existing(project string, names []string) (there, missing []string) {
	there = []string{} // none at all, rather than the default one
	for _, name := range names {
		if _, _, ok := s.Profiles.Definition(project, name); ok {
			there = append(there, name)
		} else {
			missing = append(missing, name)
		}
	}
	return there, missing
}

// existingOf is existing for a request to copy what has profiles, from a project to another or the same: only those may be missing that are so
// in the source's project, too. What a project does not have that the source's has is not for the copy to do without.
func (s *Service) existingOf(from, project string, names, of []string) []string {
	_, gone := s.existing(from, of)
	_, missing := s.existing(project, gone)
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(missing, name) })
}

// warnMissing warns that an instance lacks profiles, or that it does not any more.
func warnMissing(ctx context.Context, project, name string, missing []string) {
	r := omitted.Remark{Kind: "Profiles of a snapshot do not exist any more", Entity: url(project, name)}
	if len(missing) > 0 {
		r.Message = "without " + strings.Join(missing, ", ")
	}
	omitted.Say(ctx, r)
}

// without are the names that are not among others.
func without(names, others []string) (rest []string) {
	for _, name := range names {
		if !slices.Contains(others, name) {
			rest = append(rest, name)
		}
	}
	return rest
}
