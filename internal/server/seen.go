package server

import (
	"slices"

	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/request"
)

// objectOf is the object that a URL of the API names; ok is false for what belongs to no project.
func objectOf(raw string) (object access.Object, ok bool) {
	o, err := access.ParseURL(raw)
	return o, err == nil && o.Project != ""
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
	if project == "" || project == r.Project() {
		return nil
	}
	r.asks(project)
	if r.server.allowsIn(r, need, project) {
		return nil
	}
	return request.ErrNotAuthorized
}

// viewer tells which objects of a kind the caller sees in a list that reaches over projects; nil: all of them.
func (r *Request) viewer(kind access.Entity) func(project, name string) bool {
	return request.Viewer(r.Context(), kind)
}
