package identity

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/store"
)

// permission is a permission as the store keeps it.
type permission struct {
	Entitlement string `json:"entitlement"`
	Entity      string `json:"entity"`
	Project     string `json:"project,omitempty"`
	Name        string `json:"name,omitempty"`
	// UUID is the identity of the object, where it has one: a later one of its name is another.
	UUID string `json:"uuid,omitempty"`
}

func (p permission) object() access.Object {
	return access.Object{Entity: access.Entity(p.Entity), Project: p.Project, Name: p.Name}
}

func (p permission) show() api.Permission {
	return api.Permission{EntityType: p.Entity, EntityReference: p.object().URL(), Entitlement: p.Entitlement}
}

// permissions checks permissions: each on an object that there is, and of a kind that has that entitlement.
func (s *Service) permissions(list []api.Permission) ([]permission, error) {
	var checked []permission
	for _, p := range list {
		one, err := s.permission(p)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(checked, one) {
			checked = append(checked, one)
		}
	}
	return checked, nil
}

func (s *Service) permission(p api.Permission) (permission, error) {
	kind := access.Entity(p.EntityType)
	allowed := access.Entitlements(kind)
	if allowed == nil {
		return permission{}, api.BadRequest("Invalid entity type %q: %s are allowed", p.EntityType, joined(access.Entities()))
	}
	if !access.Grants(kind, access.Entitlement(p.Entitlement)) {
		return permission{}, api.BadRequest("Invalid entitlement %q for entity type %q: %s are allowed", p.Entitlement, p.EntityType, joined(allowed))
	}
	o, err := access.ParseURL(p.EntityReference)
	if err != nil {
		return permission{}, api.BadRequest("Invalid entity URL %q: %w", p.EntityReference, err)
	}
	if o.Entity != kind {
		return permission{}, api.BadRequest("Invalid entity URL %q: it is of entity type %q, not %q", p.EntityReference, o.Entity, kind)
	}
	o = s.Objects.Home(o)
	uuid, ok := s.find(o)
	if !ok {
		return permission{}, api.NotFound("No entity found with URL %q", p.EntityReference)
	}
	return permission{Entitlement: p.Entitlement, Entity: p.EntityType, Project: o.Project, Name: o.Name, UUID: uuid}, nil
}

func joined[T ~string](list []T) string {
	texts := make([]string, len(list))
	for n, one := range list {
		texts[n] = string(one)
	}
	return strings.Join(texts, ", ")
}

// find is Objects.Find, with what this package keeps.
func (s *Service) find(o access.Object) (uuid string, ok bool) {
	switch o.Entity {
	case access.Server:
		return "", true
	case access.Group:
		row, ok := s.names.Get(o.Name)
		if !ok {
			return "", false
		}
		return *row.Value, true
	case access.IdentityProviderGroup:
		_, ok := s.mappings.Get(o.Name)
		return "", ok
	case access.Identity:
		method, id, _ := strings.Cut(o.Name, "/")
		_, ok := s.identities.Get(method, id)
		return "", ok
	}
	return s.Objects.Find(o)
}

// holds tells whether a permission is still about the object that it was given for.
func (s *Service) holds(p permission) bool {
	if p.UUID == "" {
		return true
	}
	uuid, ok := s.find(p.object())
	return ok && uuid == p.UUID
}

// list is Objects.List, with what this package keeps.
func (s *Service) list(kind access.Entity) []access.Object {
	var all []access.Object
	switch kind {
	case access.Server:
		return []access.Object{{Entity: access.Server}}
	case access.Group:
		for _, row := range s.names.List() {
			all = append(all, groupObject(row.Path[0]))
		}
	case access.IdentityProviderGroup:
		for _, row := range s.mappings.List() {
			all = append(all, mappingObject(row.Path[0]))
		}
	case access.Identity:
		for _, row := range s.identities.List() {
			all = append(all, identityObject(row.Path[0], row.Path[1]))
		}
	default:
		return s.Objects.List(kind)
	}
	return all
}

// Permissions lists what can be granted: each entitlement on each object, of one kind or with "" of all, of one project or with "" of all and of
// none. Each has the groups that have it.
func (s *Service) Permissions(kind, project string) ([]api.PermissionInfo, error) {
	kinds := access.Entities()
	if kind != "" {
		if access.Entitlements(access.Entity(kind)) == nil {
			return nil, api.BadRequest("Invalid entity type %q: %s are allowed", kind, joined(kinds))
		}
		kinds = []access.Entity{access.Entity(kind)}
	}
	granted := map[api.Permission][]string{}
	for _, row := range s.groups.List() {
		for _, p := range row.Value.Permissions {
			if s.holds(p) {
				granted[p.show()] = append(granted[p.show()], row.Value.Name)
			}
		}
	}
	list := []api.PermissionInfo{}
	for _, k := range kinds {
		for _, o := range s.list(k) {
			if project != "" && o.Project != project && !(k == access.Project && o.Name == project) {
				continue
			}
			list = append(list, entitled(o, granted)...)
		}
	}
	return list, nil
}

func entitled(o access.Object, granted map[api.Permission][]string) []api.PermissionInfo {
	var list []api.PermissionInfo
	url := o.URL()
	for _, e := range access.Entitlements(o.Entity) {
		p := api.Permission{EntityType: string(o.Entity), EntityReference: url, Entitlement: string(e)}
		groups := slices.Sorted(slices.Values(granted[p]))
		if groups == nil {
			groups = []string{}
		}
		list = append(list, api.PermissionInfo{Permission: p, Groups: groups})
	}
	return list
}

// rewrite makes the ops that change the permissions of all groups: edit gives what becomes of one, and whether it stays.
func (s *Service) rewrite(edit func(permission) (permission, bool)) []store.Op {
	var ops []store.Op
	for _, row := range s.groups.List() {
		var next []permission
		for _, p := range row.Value.Permissions {
			if q, ok := edit(p); ok {
				next = append(next, q)
			}
		}
		if !slices.Equal(next, row.Value.Permissions) {
			g := *row.Value
			g.Permissions = next
			ops = append(ops, s.groups.Replace(row, &g))
		}
	}
	return ops
}

// RenameProject are the ops by which permissions follow a project that gets another name.
func (s *Service) RenameProject(old, renamed string) []store.Op {
	return s.rewrite(func(p permission) (permission, bool) {
		if p.Project == old {
			p.Project = renamed
		}
		if p.object() == access.InProject(old) {
			p.Name = renamed
		}
		return p, true
	})
}

// RemoveProject are the ops by which permissions on a project that goes, and on what was in it, go with it.
func (s *Service) RemoveProject(name string) []store.Op {
	return s.rewrite(func(p permission) (permission, bool) {
		return p, p.Project != name && p.object() != access.InProject(name)
	})
}

// Moved has permissions follow an object to another name.
func (s *Service) Moved(ctx context.Context, from, to access.Object) error {
	return s.again(ctx, func() error {
		ops := s.rewrite(func(p permission) (permission, bool) {
			if p.object() == from {
				p.Project, p.Name = to.Project, to.Name
			}
			return p, true
		})
		return s.reconsider(ctx, ops)
	})
}

// Gone takes permissions away that were about an object that is gone, or about what it held.
func (s *Service) Gone(ctx context.Context, o access.Object) error {
	return s.again(ctx, func() error {
		return s.reconsider(ctx, s.rewrite(func(p permission) (permission, bool) { return p, p.object() != o }))
	})
}

// Prune takes away the permissions on what is not there any more: what went while nobody looked.
func (s *Service) Prune(ctx context.Context) error {
	return s.again(ctx, func() error {
		return s.reconsider(ctx, s.rewrite(func(p permission) (permission, bool) {
			uuid, ok := s.find(p.object())
			return p, ok && (p.UUID == "" || p.UUID == uuid)
		}))
	})
}

// logged is for what comes after a change that is made: it is no reason to say that the change has failed, and Prune sees to it at the next start.
func (s *Service) logged(err error) {
	if err != nil {
		slog.Error("Permissions do not follow what they are about", "err", err)
	}
}

func (s *Service) reconsider(ctx context.Context, ops []store.Op) error {
	if len(ops) == 0 {
		return nil
	}
	if _, err := s.Store.CommitAll(ctx, ops); err != nil { // each group is right by itself
		return err
	}
	if s.Changed != nil {
		s.Changed()
	}
	return nil
}
