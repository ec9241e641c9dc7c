package server

import (
	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/identity"
)

// providerGroupsAPI is what groups of the identity provider stand for.
type providerGroupsAPI struct{ svc *identity.Service }

func (a providerGroupsAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	const all, one = "/1.0/auth/identity-provider-groups", "/1.0/auth/identity-provider-groups/{name}"
	return []Route{
		{Method: "GET", Path: all, Need: AnyoneTrusted, Handle: a.list},
		{Method: "POST", Path: all, Need: Need{May: access.CanCreateIdPGroups, On: access.Server}, Handle: a.create},
		{Method: "GET", Path: one, Need: on(access.IdentityProviderGroup, "name", access.CanView), Handle: a.get},
		{Method: "PUT", Path: one, Need: on(access.IdentityProviderGroup, "name", access.CanEdit), Handle: a.put},
		{Method: "PATCH", Path: one, Need: on(access.IdentityProviderGroup, "name", access.CanEdit), Handle: a.patch},
		{Method: "POST", Path: one, Need: on(access.IdentityProviderGroup, "name", access.CanEdit), Handle: a.rename},
		{Method: "DELETE", Path: one, Need: on(access.IdentityProviderGroup, "name", access.CanDelete), Handle: a.remove},
	}
}

func providerGroupURL(name string) string {
	return access.Object{Entity: access.IdentityProviderGroup, Name: name}.URL()
}

func (a providerGroupsAPI) list(r *Request) Response {
	list := a.svc.Mappings(r.Context())
	if r.Recursion() > 0 {
		return Sync(list)
	}
	urls := make([]string, len(list))
	for n, m := range list {
		urls[n] = providerGroupURL(m.Name)
	}
	return Sync(urls)
}

func (a providerGroupsAPI) create(r *Request) Response {
	var req api.IdentityProviderGroup
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if err := a.svc.CreateMapping(r.Context(), req); err != nil {
		return Fail(err)
	}
	return Created(providerGroupURL(req.Name))
}

func (a providerGroupsAPI) get(r *Request) Response {
	m, rev, err := a.svc.Mapping(r.Var("name"))
	if err != nil {
		return Fail(err)
	}
	return SyncETag(m, ETag(rev))
}

func (a providerGroupsAPI) put(r *Request) Response {
	return a.change(r, func(p *api.IdentityProviderGroupPut) { *p = api.IdentityProviderGroupPut{} })
}

func (a providerGroupsAPI) patch(r *Request) Response {
	return a.change(r, func(*api.IdentityProviderGroupPut) {})
}

func (a providerGroupsAPI) change(r *Request, base func(*api.IdentityProviderGroupPut)) Response {
	edit, err := editor(r, base)
	if err != nil {
		return Fail(err)
	}
	r.changesRights()
	return done(a.svc.UpdateMapping(r.Context(), r.Var("name"), edit, matches(r)))
}

func (a providerGroupsAPI) rename(r *Request) Response {
	var req api.IdentityProviderGroupPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if err := a.svc.RenameMapping(r.Context(), r.Var("name"), req.Name); err != nil {
		return Fail(err)
	}
	return Created(providerGroupURL(req.Name))
}

func (a providerGroupsAPI) remove(r *Request) Response {
	r.changesRights()
	return done(a.svc.DeleteMapping(r.Context(), r.Var("name")))
}
