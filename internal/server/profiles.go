package server

import (
	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/profile"
	"github.com/berthd/berth/internal/project"
)

type profilesAPI struct{ svc *profile.Service }

func (a profilesAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	return []Route{
		{Method: "GET", Path: "/1.0/profiles", Need: Need{May: access.CanViewProfiles, On: access.Profile, Rows: true}, Handle: a.list},
		{Method: "POST", Path: "/1.0/profiles", Need: amid(access.Profile, access.CanCreateProfiles), Handle: a.create},
		{Method: "GET", Path: "/1.0/profiles/{name}", Need: on(access.Profile, "name", access.CanView), Handle: a.get},
		{Method: "PUT", Path: "/1.0/profiles/{name}", Need: on(access.Profile, "name", access.CanEdit), Handle: a.put},
		{Method: "PATCH", Path: "/1.0/profiles/{name}", Need: on(access.Profile, "name", access.CanEdit), Handle: a.patch},
		{Method: "POST", Path: "/1.0/profiles/{name}", Need: on(access.Profile, "name", access.CanEdit), Handle: a.rename},
		{Method: "DELETE", Path: "/1.0/profiles/{name}", Need: on(access.Profile, "name", access.CanDelete), Handle: a.delete},
	}
}

func (a profilesAPI) list(r *Request) Response {
	clauses, err := r.Filter()
	if err != nil {
		return Fail(err)
	}
	home, urls, list := a.svc.Home(r.Project()), []string{}, []*api.Profile{}
	sees := r.rows(access.Profile, access.CanViewProfiles)
	if r.Recursion() == 0 && clauses.Empty() {
		for _, name := range a.svc.Names(r.Project()) {
			if sees != nil && !sees(home, name) {
				continue
			}
			urls = append(urls, project.URL(home, "profiles", name))
		}
		return Sync(urls)
	}
	for _, p := range a.svc.List(r.Context(), r.Project()) {
		if sees != nil && !sees(home, p.Name) {
			continue
		}
		p.UsedBy = r.usedBy(p.UsedBy)
		if clauses.Match(p) {
			list = append(list, p)
			urls = append(urls, project.URL(home, "profiles", p.Name))
		}
	}
	if r.Recursion() == 0 {
		return Sync(urls)
	}
	return Sync(list)
}

func (a profilesAPI) create(r *Request) Response {
	var req api.ProfilesPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if err := a.svc.Create(r.Context(), r.Project(), req); err != nil {
		return Fail(err)
	}
	return Created(project.URL(a.svc.Home(r.Project()), "profiles", req.Name))
}

func (a profilesAPI) get(r *Request) Response {
	p, rev, err := a.svc.Get(r.Context(), r.Project(), r.Var("name"))
	if err != nil {
		return Fail(err)
	}
	p.UsedBy = r.usedBy(p.UsedBy)
	return SyncETag(p, ETag(rev))
}

func (a profilesAPI) match(r *Request) error {
	_, rev, err := a.svc.Get(r.Context(), r.Project(), r.Var("name"))
	if err != nil {
		return err
	}
	return r.IfMatch(ETag(rev))
}

func (a profilesAPI) put(r *Request) Response {
	var req api.ProfilePut
	if err := a.match(r); err != nil {
		return Fail(err)
	}
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if err := a.svc.Put(r.Context(), r.Project(), r.Var("name"), req, ifMatch(r)); err != nil {
		return Fail(err)
	}
	return Empty()
}

func (a profilesAPI) patch(r *Request) Response {
	var req api.ProfilePut
	if err := a.match(r); err != nil {
		return Fail(err)
	}
	has, err := decodePatch(r, &req)
	if err != nil {
		return Fail(err)
	}
	if err := a.svc.Patch(r.Context(), r.Project(), r.Var("name"), req, has("description"), ifMatch(r)); err != nil {
		return Fail(err)
	}
	return Empty()
}

func (a profilesAPI) rename(r *Request) Response {
	var req api.ProfilePost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if err := a.svc.Rename(r.Context(), r.Project(), r.Var("name"), req.Name); err != nil {
		return Fail(err)
	}
	return Created(project.URL(a.svc.Home(r.Project()), "profiles", req.Name))
}

func (a profilesAPI) delete(r *Request) Response {
	if err := a.svc.Delete(r.Context(), r.Project(), r.Var("name")); err != nil {
		return Fail(err)
	}
	return Empty()
}
