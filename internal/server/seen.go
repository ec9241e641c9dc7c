package server

import (
	"net/url"
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/request"
)

// kindsByPath are the kinds of objects by the collections that their URLs are in.
var kindsByPath = map[string]access.Entity{
	"instances": access.Instance, "containers": access.Instance, "virtual-machines": access.Instance,
	"images": access.Image, "profiles": access.Profile, "networks": access.Network,
}

// objectOf is the object that a URL of the API names; ok is false for what belongs to no project.
func objectOf(raw string) (object access.Object, ok bool) {
	u, err := url.Parse(raw)
	if err != nil {
		return object, false
	}
	path := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/1.0/"), "/")
	object.Project = u.Query().Get("project")
	if object.Project == "" {
		object.Project = api.ProjectDefault
	}
	var name string
	switch kind, known := kindsByPath[path[0]]; {
	case known && len(path) > 1:
		object.Entity, name = kind, path[1]
	case path[0] == "storage-pools" && len(path) > 4 && path[2] == "volumes":
		object.Entity, name = access.StorageVolume, path[4]
	default:
		return object, false
	}
	object.Name, err = url.PathUnescape(name)
	return object, err == nil
}

// usedBy leaves of the users of an object those that the caller may see.
func (r *Request) usedBy(urls []string) []string {
	if !r.guarded() {
		return urls
	}
	return slices.DeleteFunc(slices.Clone(urls), func(u string) bool {
		object, ok := objectOf(u)
		return !ok || !r.caller.May(access.CanView, object)
	})
}

// guarded tells whether something is kept from the caller's sight.
func (r *Request) guarded() bool {
	return !r.caller.May(access.Viewer, access.Object{Entity: access.Server})
}

// requireIn fails unless the caller has an entitlement on another project than that of the request, as moves and copies between projects need.
func (r *Request) requireIn(project string, need Need) error {
	if project == "" || project == r.Project() || r.server.allowsIn(r, need, project) {
		return nil
	}
	return request.ErrNotAuthorized
}

// viewer tells which objects of a kind the caller sees in a list that reaches over projects; nil: all of them.
func (r *Request) viewer(kind access.Entity) func(project, name string) bool {
	return request.Viewer(r.Context(), kind)
}
