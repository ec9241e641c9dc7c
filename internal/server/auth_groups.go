package server

import (
	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/identity"
)

// authGroupsAPI is the groups by which identities have rights.
type authGroupsAPI struct{ svc *identity.Service }

func (a authGroupsAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	const all, one = "/1.0/auth/groups", "/1.0/auth/groups/{name}"
	return []Route{
		{Method: "GET", Path: all, Need: AnyoneTrusted, Handle: a.list},
		{Method: "POST", Path: all, Need: Need{May: access.CanCreateGroups, On: access.Server}, Handle: a.create},
		{Method: "GET", Path: one, Need: on(access.Group, "name", access.CanView), Handle: a.get},
		{Method: "PUT", Path: one, Need: on(access.Group, "name", access.CanEdit), Handle: a.put},
		{Method: "PATCH", Path: one, Need: on(access.Group, "name", access.CanEdit), Handle: a.patch},
		{Method: "POST", Path: one, Need: on(access.Group, "name", access.CanEdit), Handle: a.rename},
		{Method: "DELETE", Path: one, Need: on(access.Group, "name", access.CanDelete), Handle: a.remove},
	}
}

func groupURL(name string) string { return access.Object{Entity: access.Group, Name: name}.URL() }

func (a authGroupsAPI) list(r *Request) Response {
	list := a.svc.Groups(r.Context())
	if r.Recursion() > 0 {
		return Sync(list)
	}
	urls := make([]string, len(list))
	for n, g := range list {
		urls[n] = groupURL(g.Name)
	}
	return Sync(urls)
}

// create makes a group. It gives nobody anything until somebody is put in it, for which one has to have what it gives.
func (a authGroupsAPI) create(r *Request) Response {
	var req api.AuthGroupsPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if err := a.svc.CreateGroup(r.Context(), req); err != nil {
		return Fail(err)
	}
	return Created(groupURL(req.Name))
}

func (a authGroupsAPI) get(r *Request) Response {
	g, rev, err := a.svc.Group(r.Context(), r.Var("name"))
	if err != nil {
		return Fail(err)
	}
	return SyncETag(g, ETag(rev))
}

func (a authGroupsAPI) put(r *Request) Response {
	return a.change(r, func(p *api.AuthGroupPut) { *p = api.AuthGroupPut{} })
}

func (a authGroupsAPI) patch(r *Request) Response { return a.change(r, func(*api.AuthGroupPut) {}) }

func (a authGroupsAPI) change(r *Request, base func(*api.AuthGroupPut)) Response {
	edit, err := editor(r, base)
	if err != nil {
		return Fail(err)
	}
	r.changesRights()
	return done(a.svc.UpdateGroup(r.Context(), r.Var("name"), edit, matches(r)))
}

func (a authGroupsAPI) rename(r *Request) Response {
	var req api.AuthGroupPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	r.changesRights()
	if err := a.svc.RenameGroup(r.Context(), r.Var("name"), req.Name); err != nil {
		return Fail(err)
	}
	return Created(groupURL(req.Name))
}

func (a authGroupsAPI) remove(r *Request) Response {
	r.changesRights()
	return done(a.svc.DeleteGroup(r.Context(), r.Var("name")))
}
