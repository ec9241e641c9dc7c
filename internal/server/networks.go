package server

import (
	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/network"
	"github.com/berthd/berth/internal/project"
)

type networksAPI struct{ svc *network.Service }

func (a networksAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	return []Route{
		{Method: "GET", Path: "/1.0/networks", Need: Need{May: access.CanViewNetworks, On: access.Network, Rows: true}, Handle: a.list},
		{Method: "POST", Path: "/1.0/networks", Need: amid(access.Network, access.CanCreateNetworks), Handle: a.create},
		{Method: "GET", Path: "/1.0/networks/{network}", Need: on(access.Network, "network", access.CanView), Handle: a.get},
		{Method: "PUT", Path: "/1.0/networks/{network}", Need: on(access.Network, "network", access.CanEdit), Handle: a.update},
		{Method: "PATCH", Path: "/1.0/networks/{network}", Need: on(access.Network, "network", access.CanEdit), Handle: a.patch},
		{Method: "POST", Path: "/1.0/networks/{network}", Need: on(access.Network, "network", access.CanEdit), Handle: a.rename},
		{Method: "DELETE", Path: "/1.0/networks/{network}", Need: on(access.Network, "network", access.CanDelete), Handle: a.delete},
		{Method: "GET", Path: "/1.0/networks/{network}/state", Need: on(access.Network, "network", access.CanView), Handle: a.state},
		{Method: "GET", Path: "/1.0/networks/{network}/leases", Need: on(access.Network, "network", access.CanView), Handle: a.leases},
	}
}

func (a networksAPI) url(r *Request, name string) string {
	return project.URL(a.svc.Home(r.Project()), "networks", name)
}

func (a networksAPI) list(r *Request) Response {
	f, err := r.Filter()
	if err != nil {
		return Fail(err)
	}
	all, err := a.svc.List(r.Context(), r.Project())
	if err != nil {
		return Fail(err)
	}
	urls, kept := []string{}, []api.Network{}
	for _, n := range all {
		if !a.shows(r, &n) {
			continue
		}
		hide(r, &n)
		if f.Match(&n) {
			urls, kept = append(urls, a.url(r, n.Name)), append(kept, n)
		}
	}
	if r.Recursion() == 0 {
		return Sync(urls)
	}
	return Sync(kept)
}

// shows tells whether a list has a network, or an interface of the host, for the caller.
func (a networksAPI) shows(r *Request, n *api.Network) bool {
	if n.Managed {
		sees := r.rows(access.Network, access.CanViewNetworks)
		return sees == nil || sees(a.svc.Home(r.Project()), n.Name)
	}
	return !r.caller.Rights.Fine() || r.caller.May(access.CanView, access.Object{Entity: access.Network, Project: access.Unmanaged, Name: n.Name})
}

func (a networksAPI) create(r *Request) Response {
	var req api.NetworksPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if err := a.svc.Create(r.Context(), r.Project(), req); err != nil {
		return Fail(err)
	}
	return Created(a.url(r, req.Name))
}

func (a networksAPI) get(r *Request) Response {
	n, rev, err := a.svc.Get(r.Context(), r.Project(), r.Var("network"))
	if err != nil {
		return Fail(err)
	}
	etag := ETag(rev)
	if rev == 0 {
		etag = contentETag(n.NetworkPut)
	}
	hide(r, n)
	return SyncETag(n, etag)
}

// hide takes from a network what its caller may not see: its settings, unless it may edit it, and whom else it serves.
func hide(r *Request, n *api.Network) {
	if r.caller.Unbound() {
		return
	}
	n.UsedBy = r.usedBy(n.UsedBy)
	if need := on(access.Network, "network", access.CanEdit); !r.server.allowsIn(r, need, r.Project()) {
		n.Config = map[string]string{}
	}
}

func (a networksAPI) update(r *Request) Response {
	var put api.NetworkPut
	if err := r.Decode(&put); err != nil {
		return Fail(err)
	}
	if err := a.svc.Update(r.Context(), r.Project(), r.Var("network"), put, ifMatch(r)); err != nil {
		return Fail(err)
	}
	return Empty()
}

func (a networksAPI) patch(r *Request) Response {
	var patch network.Patch
	if err := r.Decode(&patch); err != nil {
		return Fail(err)
	}
	if err := a.svc.Patch(r.Context(), r.Project(), r.Var("network"), patch, ifMatch(r)); err != nil {
		return Fail(err)
	}
	return Empty()
}

func (a networksAPI) rename(r *Request) Response {
	var req api.NetworkPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if err := a.svc.Rename(r.Context(), r.Project(), r.Var("network"), req); err != nil {
		return Fail(err)
	}
	return Created(a.url(r, req.Name))
}

func (a networksAPI) delete(r *Request) Response {
	if err := a.svc.Delete(r.Context(), r.Project(), r.Var("network")); err != nil {
		return Fail(err)
	}
	return Empty()
}

func (a networksAPI) state(r *Request) Response {
	state, err := a.svc.State(r.Context(), r.Project(), r.Var("network"))
	if err != nil {
		return Fail(err)
	}
	return Sync(state)
}

func (a networksAPI) leases(r *Request) Response {
	leases, err := a.svc.Leases(r.Context(), r.Project(), r.Var("network"))
	if err != nil {
		return Fail(err)
	}
	return Sync(leases)
}
