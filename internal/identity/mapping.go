package identity

import (
	"context"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/store"
)

// mapping is which groups, by ID, a group of the identity provider stands for.
type mapping struct {
	Groups []string `json:"groups"`
}

func (s *Service) showMapping(row store.Row[mapping]) api.IdentityProviderGroup {
	return api.IdentityProviderGroup{Name: row.Path[0], Groups: s.groupNames(row.Value.Groups)}
}

// Mappings lists the groups of the identity provider that the caller may see, by name.
func (s *Service) Mappings(ctx context.Context) []api.IdentityProviderGroup {
	list := []api.IdentityProviderGroup{}
	for _, row := range s.mappings.List() {
		if sees(ctx, access.IdentityProviderGroup, row.Path[0]) {
			list = append(list, s.showMapping(row))
		}
	}
	return list
}

// mappedTo are the provider's groups that stand for each group, of those that the caller may see.
func (s *Service) mappedTo(ctx context.Context) map[string][]string {
	all := map[string][]string{}
	for _, row := range s.mappings.List() {
		if sees(ctx, access.IdentityProviderGroup, row.Path[0]) {
			for _, id := range row.Value.Groups {
				all[id] = append(all[id], row.Path[0])
			}
		}
	}
	return all
}

// Mapping gives a group of the identity provider and its revision.
func (s *Service) Mapping(name string) (api.IdentityProviderGroup, store.Revision, error) {
	row, ok := s.mappings.Get(name)
	if !ok {
		return api.IdentityProviderGroup{}, 0, errNoMapping
	}
	return s.showMapping(row), row.Revision, nil
}

// CreateMapping says for which groups one of the identity provider stands.
func (s *Service) CreateMapping(ctx context.Context, req api.IdentityProviderGroup) error {
	if err := checkName("identity provider group", req.Name); err != nil {
		return err
	}
	ids, err := s.groupIDs(req.Groups)
	if err == nil {
		err = s.mayGive(ctx, ids)
	}
	if err != nil {
		return err
	}
	return s.again(ctx, func() error {
		if _, ok := s.mappings.Get(req.Name); ok {
			return api.Conflict("Identity provider group %q already exists", req.Name)
		}
		return s.commit(ctx, "identity-provider-group-created", mappingObject(req.Name), s.mappings.Create(&mapping{Groups: ids}, req.Name))
	})
}

// UpdateMapping is UpdateGroup for a mapping.
func (s *Service) UpdateMapping(ctx context.Context, name string, edit func(*api.IdentityProviderGroupPut) error, check func(store.Revision) error) error {
	return s.again(ctx, func() error {
		row, ok := s.mappings.Get(name)
		if !ok {
			return errNoMapping
		}
		if err := check(row.Revision); err != nil {
			return err
		}
		put := api.IdentityProviderGroupPut{Groups: s.groupNames(row.Value.Groups)}
		if err := edit(&put); err != nil {
			return err
		}
		ids, err := s.groupIDs(put.Groups)
		if err == nil {
			err = s.mayGive(ctx, slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(row.Value.Groups, id) }))
		}
		if err != nil {
			return err
		}
		return s.commit(ctx, "identity-provider-group-updated", mappingObject(name), s.mappings.Replace(row, &mapping{Groups: ids}))
	})
}

// RenameMapping has another group of the identity provider stand for the same groups.
func (s *Service) RenameMapping(ctx context.Context, name, to string) error {
	if err := checkName("identity provider group", to); err != nil {
		return err
	}
	return s.again(ctx, func() error {
		row, ok := s.mappings.Get(name)
		if !ok {
			return errNoMapping
		}
		if _, ok := s.mappings.Get(to); ok {
			return api.Conflict("Identity provider group %q already exists", to)
		}
		err := s.commit(ctx, "identity-provider-group-renamed", mappingObject(to), s.mappings.RemoveAt(row.Revision, name), s.mappings.Create(row.Value, to))
		if err != nil {
			return err
		}
		s.logged(s.Moved(ctx, mappingObject(name), mappingObject(to)))
		return nil
	})
}

// DeleteMapping has a group of the identity provider stand for nothing.
func (s *Service) DeleteMapping(ctx context.Context, name string) error {
	return s.again(ctx, func() error {
		row, ok := s.mappings.Get(name)
		if !ok {
			return errNoMapping
		}
		if err := s.commit(ctx, "identity-provider-group-deleted", mappingObject(name), s.mappings.RemoveAt(row.Revision, name)); err != nil {
			return err
		}
		s.logged(s.Gone(ctx, mappingObject(name)))
		return nil
	})
}
