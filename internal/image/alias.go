package image

import (
	"context"
	"errors"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

const maxAlias = 255

func checkAlias(name string) error {
	if name == "" || len(name) > maxAlias || strings.ContainsAny(name, "\x00\n") {
		return api.BadRequest("Invalid alias name %q", name)
	}
	return nil
}

func checkAliases(list []api.ImageAlias) error {
	for _, a := range list {
		if err := checkAlias(a.Name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) showAlias(row store.Row[alias]) *api.ImageAliasesEntry {
	kind := TypeContainer
	if img, ok := s.images.Get(row.Path[0], row.Value.Target); ok {
		kind = img.Value.Type
	}
	return &api.ImageAliasesEntry{
		ImageAliasesEntryPut: api.ImageAliasesEntryPut{Description: row.Value.Description, Target: row.Value.Target},
		Name:                 row.Path[1], Type: kind,
	}
}

func (s *Service) publicTarget(row store.Row[alias]) bool {
	img, ok := s.images.Get(row.Path[0], row.Value.Target)
	return ok && img.Value.Public
}

// Aliases lists a project's aliases by name; with publicOnly, those of public images.
func (s *Service) Aliases(_ context.Context, project string, publicOnly bool) []*api.ImageAliasesEntry {
	list := []*api.ImageAliasesEntry{}
	for _, row := range s.aliases.List(s.Home(project)) {
		if !publicOnly || s.publicTarget(row) {
			list = append(list, s.showAlias(row))
		}
	}
	return list
}

func (s *Service) findAlias(project, name string) (store.Row[alias], error) {
	return s.findAliasIn(s.Home(project), name)
}

// findAliasFor is findAlias for whoever changes it.
func (s *Service) findAliasFor(ctx context.Context, project, name string, may access.Entitlement) (store.Row[alias], error) {
	home, err := s.homeFor(ctx, access.ImageAlias, project, may, name)
	if err != nil {
		return store.Row[alias]{}, err
	}
	return s.findAliasIn(home, name)
}

func (s *Service) findAliasIn(home, name string) (store.Row[alias], error) {
	row, ok := s.aliases.Get(home, name)
	if !ok {
		return row, api.NotFound("Image alias not found")
	}
	return row, nil
}

// Alias gives one alias and its revision. One of an image that is not public does not exist for publicOnly.
func (s *Service) Alias(_ context.Context, project, name string, publicOnly bool) (*api.ImageAliasesEntry, store.Revision, error) {
	row, err := s.findAlias(project, name)
	if err != nil {
		return nil, 0, err
	}
	if publicOnly && !s.publicTarget(row) {
		return nil, 0, api.NotFound("Image alias not found")
	}
	return s.showAlias(row), row.Revision, nil
}

func aliasURL(path ...string) string { return project.URL(path[0], "images", "aliases", path[1]) }

// CreateAlias makes an alias and returns its URL.
func (s *Service) CreateAlias(ctx context.Context, project string, req api.ImageAliasesPost) (string, error) {
	if req.Name == "" || req.Target == "" {
		return "", api.BadRequest("name and target are required")
	}
	if err := checkAlias(req.Name); err != nil {
		return "", err
	}
	where, err := s.homeFor(ctx, access.ImageAlias, project, access.CanCreateAliases, "")
	if err != nil {
		return "", err
	}
	if _, ok := s.aliases.Get(where, req.Name); ok {
		return "", api.Conflict("Alias %q already exists", req.Name)
	}
	img, release, err := s.holdTarget(ctx, where, req.Target)
	if err != nil {
		return "", err
	}
	defer release()
	op := s.aliases.Create(&alias{Target: img.Path[1], Description: req.Description}, where, req.Name)
	if _, err := s.Store.Commit(ctx, op); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return "", api.Conflict("Alias %q already exists", req.Name)
		}
		return "", err
	}
	s.Events.Lifecycle(ctx, where, "image-alias-created", aliasURL(where, req.Name), map[string]any{"target": img.Path[1]})
	return aliasURL(where, req.Name), nil
}

// holdTarget finds what an alias is to name, which must not go before the alias is there.
func (s *Service) holdTarget(ctx context.Context, home, name string) (img store.Row[record], release func(), err error) {
	if img, err = s.findIn(home, name, anyImage); err != nil {
		return img, nil, err
	}
	if release, err = s.hold(ctx, "alias", lock.Shared(lock.ForImage(img.Path[1]))); err != nil {
		return img, nil, err
	}
	if img, err = s.findIn(home, img.Path[1], anyImage); err != nil {
		release()
		return img, nil, err
	}
	return img, release, nil
}

// UpdateAlias changes what edit changes of an alias; match as in Update.
func (s *Service) UpdateAlias(ctx context.Context, project, name string, edit func(*api.ImageAliasesEntryPut) error, match func(store.Revision) error) error {
	return again(ctx, func() error { return s.updateAlias(ctx, project, name, edit, match) })
}

func (s *Service) updateAlias(ctx context.Context, project, name string, edit func(*api.ImageAliasesEntryPut) error, match func(store.Revision) error) error {
	row, err := s.findAliasFor(ctx, project, name, access.CanEdit)
	if err != nil {
		return err
	}
	if err := match(row.Revision); err != nil {
		return err
	}
	put := api.ImageAliasesEntryPut{Description: row.Value.Description, Target: row.Value.Target}
	if err := edit(&put); err != nil {
		return err
	}
	if put.Target == "" {
		return api.BadRequest("The target field is required")
	}
	img, release, err := s.holdTarget(ctx, row.Path[0], put.Target)
	if err != nil {
		return err
	}
	defer release()
	if _, err := s.Store.Commit(ctx, s.aliases.Replace(row, &alias{Target: img.Path[1], Description: put.Description})); err != nil {
		return err
	}
	s.Events.Lifecycle(ctx, row.Path[0], "image-alias-updated", aliasURL(row.Path...), map[string]any{"target": img.Path[1]})
	return nil
}

// RenameAlias gives an alias another name and returns its new URL.
func (s *Service) RenameAlias(ctx context.Context, project, name, to string) (string, error) {
	if to == "" {
		return "", api.BadRequest("name is required")
	}
	if err := checkAlias(to); err != nil {
		return "", err
	}
	where, err := s.homeFor(ctx, access.ImageAlias, project, access.CanEdit, name)
	if err != nil {
		return "", err
	}
	err = again(ctx, func() error {
		if _, ok := s.aliases.Get(where, to); ok {
			return api.Conflict("Alias %q already exists", to)
		}
		row, err := s.findAliasIn(where, name)
		if err != nil {
			return err
		}
		_, err = s.Store.Commit(ctx, s.aliases.RemoveAt(row.Revision, row.Path...), s.aliases.Create(row.Value, where, to))
		return err
	})
	if err != nil {
		return "", err
	}
	s.Events.Lifecycle(ctx, where, "image-alias-renamed", aliasURL(where, to), map[string]any{"old_name": name})
	return aliasURL(where, to), nil
}

// DeleteAlias removes an alias.
func (s *Service) DeleteAlias(ctx context.Context, project, name string) error {
	where := ""
	err := again(ctx, func() error {
		row, err := s.findAliasFor(ctx, project, name, access.CanDelete)
		if err != nil {
			return err
		}
		where = row.Path[0]
		_, err = s.Store.Commit(ctx, s.aliases.RemoveAt(row.Revision, row.Path...))
		return err
	})
	if err != nil {
		return err
	}
	s.Events.Lifecycle(ctx, where, "image-alias-deleted", aliasURL(where, name), nil)
	return nil
}
