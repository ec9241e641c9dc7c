package identity

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/store"
)

// group is a group as the store keeps it, under an ID by which its members name it.
type group struct {
	Name        string       `json:"name"`
	Description string       `json:"description,omitempty"`
	Permissions []permission `json:"permissions,omitempty"`
}

// Groups lists the groups that the caller may see, by name.
func (s *Service) Groups(ctx context.Context) []api.AuthGroup {
	list := []api.AuthGroup{}
	members, mapped := s.members(ctx), s.mappedTo(ctx)
	for _, row := range s.names.List() {
		name := row.Path[0]
		if g, ok := s.groups.Get(*row.Value); ok && sees(ctx, access.Group, name) {
			list = append(list, s.show(g, members, mapped))
		}
	}
	return list
}

// Group gives a group and its revision.
func (s *Service) Group(ctx context.Context, name string) (api.AuthGroup, store.Revision, error) {
	row, err := s.findGroup(name)
	if err != nil {
		return api.AuthGroup{}, 0, err
	}
	return s.show(row, s.members(ctx), s.mappedTo(ctx)), row.Revision, nil
}

func (s *Service) findGroup(name string) (store.Row[group], error) {
	if id, ok := s.names.Get(name); ok {
		if row, ok := s.groups.Get(*id.Value); ok {
			return row, nil
		}
	}
	return store.Row[group]{}, errNoGroup
}

func (s *Service) show(row store.Row[group], members map[string]map[string][]string, mapped map[string][]string) api.AuthGroup {
	g := api.AuthGroup{
		Name: row.Value.Name, Description: row.Value.Description, Permissions: []api.Permission{},
		Identities: map[string][]string{}, IdentityProviderGroups: []string{},
	}
	g.Permissions = append(g.Permissions, s.shown(row)...)
	if m := members[row.Path[0]]; m != nil {
		g.Identities = m
	}
	g.IdentityProviderGroups = append(g.IdentityProviderGroups, mapped[row.Path[0]]...)
	return g
}

// shown are a group's permissions on what there is still.
func (s *Service) shown(row store.Row[group]) []api.Permission {
	list := []api.Permission{}
	for _, p := range row.Value.Permissions {
		if s.holds(p) {
			list = append(list, p.show())
		}
	}
	return list
}

// members are the identities of each group, of those that the caller may see.
func (s *Service) members(ctx context.Context) map[string]map[string][]string {
	all := map[string]map[string][]string{}
	for _, row := range s.identities.List() {
		method, id := row.Path[0], row.Path[1]
		if !sees(ctx, access.Identity, method+"/"+id) {
			continue
		}
		for _, g := range row.Value.Groups {
			if all[g] == nil {
				all[g] = map[string][]string{}
			}
			all[g][method] = append(all[g][method], id)
		}
	}
	return all
}

// CreateGroup makes a group.
func (s *Service) CreateGroup(ctx context.Context, req api.AuthGroupsPost) error {
	if err := checkName("group", req.Name); err != nil {
		return err
	}
	permissions, err := s.permissions(req.Permissions)
	if err != nil {
		return err
	}
	id := uuid.NewString()
	g := &group{Name: req.Name, Description: req.Description, Permissions: permissions}
	return s.again(ctx, func() error {
		if _, ok := s.names.Get(req.Name); ok {
			return api.Conflict("Group %q already exists", req.Name)
		}
		return s.commit(ctx, "auth-group-created", groupObject(req.Name), s.names.Create(&id, req.Name), s.groups.Create(g, id))
	})
}

// UpdateGroup changes what edit changes of a group; check is told the present revision. Both may be called more than once, where somebody else
// is quicker.
func (s *Service) UpdateGroup(ctx context.Context, name string, edit func(*api.AuthGroupPut) error, check func(store.Revision) error) error {
	return s.again(ctx, func() error {
		row, err := s.findGroup(name)
		if err == nil {
			err = check(row.Revision)
		}
		if err != nil {
			return err
		}
		put := api.AuthGroupPut{Description: row.Value.Description, Permissions: s.shown(row)}
		if err := edit(&put); err != nil {
			return err
		}
		next := *row.Value
		next.Description = put.Description
		if next.Permissions, err = s.permissions(put.Permissions); err != nil {
			return err
		}
		return s.commit(ctx, "auth-group-updated", groupObject(name), s.groups.Replace(row, &next))
	})
}

// RenameGroup gives a group another name. Who is in it stays in it.
func (s *Service) RenameGroup(ctx context.Context, name, to string) error {
	if err := checkName("group", to); err != nil {
		return err
	}
	return s.again(ctx, func() error {
		row, err := s.findGroup(name)
		if err != nil {
			return err
		}
		if _, ok := s.names.Get(to); ok {
			return api.Conflict("Group %q already exists", to)
		}
		next := *row.Value
		next.Name = to
		id := row.Path[0]
		err = s.commit(ctx, "auth-group-renamed", groupObject(to), s.groups.Replace(row, &next), s.names.Remove(name), s.names.Create(&id, to))
		if err != nil {
			return err
		}
		s.logged(s.Moved(ctx, groupObject(name), groupObject(to)))
		return nil
	})
}

// DeleteGroup takes a group away, and with it the rights that its members have by it.
func (s *Service) DeleteGroup(ctx context.Context, name string) error {
	return s.again(ctx, func() error {
		row, err := s.findGroup(name)
		if err != nil {
			return err
		}
		err = s.commit(ctx, "auth-group-deleted", groupObject(name), s.groups.RemoveAt(row.Revision, row.Path...), s.names.Remove(name))
		if err != nil {
			return err
		}
		s.logged(s.Gone(ctx, groupObject(name)))
		return nil
	})
}

// tries is how often a change is made anew because somebody else was quicker.
const tries = 256

// again does a change anew for as long as somebody else was quicker.
func (s *Service) again(ctx context.Context, change func() error) (err error) {
	for range tries {
		if err = change(); !errors.Is(err, store.ErrConflict) || ctx.Err() != nil {
			return err
		}
	}
	return api.Conflict("Others change the same: %w", err)
}

// groupIDs are the IDs of groups by their names, each once.
func (s *Service) groupIDs(names []string) ([]string, error) {
	ids := []string{}
	for _, name := range names {
		row, ok := s.names.Get(name)
		if !ok {
			return nil, api.NotFound("Group %q not found", name)
		}
		if !slices.Contains(ids, *row.Value) {
			ids = append(ids, *row.Value)
		}
	}
	return ids, nil
}

// groupNames are the names of groups by their IDs, sorted; those that are gone are left out.
func (s *Service) groupNames(ids []string) []string {
	names := []string{}
	for _, id := range ids {
		if row, ok := s.groups.Get(id); ok {
			names = append(names, row.Value.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// maxName bounds the names of groups and identities, in bytes.
const maxName = 256

// checkName refuses names that no URL, table or line of a terminal holds.
func checkName(what, name string) error {
	switch {
	case name == "":
		return api.BadRequest("The name of the %s is empty", what)
	case len(name) > maxName:
		return api.BadRequest("The name of the %s is longer than %d bytes", what, maxName)
	case strings.Contains(name, "/"), name == ".", name == "..", strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }):
		return api.BadRequest("Invalid name %q of the %s: a slash and what cannot be printed are not allowed", name, what)
	}
	return nil
}
