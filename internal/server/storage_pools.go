package server

import (
	"net/url"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

type storagePoolsAPI struct{ svc *storage.Service }

func (a storagePoolsAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	routes := []Route{
		{Method: "GET", Path: "/1.0/storage-pools", Need: AnyoneTrusted, Handle: a.list},
		{Method: "POST", Path: "/1.0/storage-pools", Need: Need{May: access.CanCreatePools, On: access.Server}, Handle: a.create},
		{Method: "GET", Path: "/1.0/storage-pools/{pool}", Need: AnyoneTrusted, Handle: a.get},
		{Method: "PUT", Path: "/1.0/storage-pools/{pool}", Need: on(access.StoragePool, "pool", access.CanEdit), Handle: a.update},
		{Method: "PATCH", Path: "/1.0/storage-pools/{pool}", Need: on(access.StoragePool, "pool", access.CanEdit), Handle: a.update},
		{Method: "DELETE", Path: "/1.0/storage-pools/{pool}", Need: on(access.StoragePool, "pool", access.CanDelete), Handle: a.delete},
		{Method: "GET", Path: "/1.0/storage-pools/{pool}/resources", Need: Need{May: access.CanViewResources, On: access.Server}, Handle: a.resources},
	}
	return append(routes, storageVolumesAPI(a).routes()...)
}

func (a storagePoolsAPI) list(r *Request) Response {
	urls, pools := []string{}, []*api.StoragePool{}
	for _, name := range a.svc.Pools() {
		if r.Recursion() == 0 {
			urls = append(urls, "/1.0/storage-pools/"+url.PathEscape(name))
			continue
		}
		pool, _, err := a.svc.Pool(name)
		if api.IsNotFound(err) { // deleted meanwhile
			continue
		}
		if err != nil {
			return Fail(err)
		}
		pools = append(pools, shownPool(r, pool))
	}
	if r.Recursion() == 0 {
		return Sync(urls)
	}
	return Sync(pools)
}

func (a storagePoolsAPI) create(r *Request) Response {
	var req api.StoragePoolsPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if err := a.svc.CreatePool(r.Context(), req); err != nil {
		return Fail(err)
	}
	return Created("/1.0/storage-pools/" + url.PathEscape(req.Name))
}

func (a storagePoolsAPI) get(r *Request) Response {
	pool, rev, err := a.svc.Pool(r.Var("pool"))
	if err != nil {
		return Fail(err)
	}
	return SyncETag(shownPool(r, pool), ETag(rev))
}

// shownPool is a pool as the caller may see it: where its data is on this host is for those who may see all.
func shownPool(r *Request, pool *api.StoragePool) *api.StoragePool {
	if r.guarded() {
		pool.Config, pool.UsedBy = nil, r.usedBy(pool.UsedBy)
	}
	return pool
}

func (a storagePoolsAPI) update(r *Request) Response {
	var put api.StoragePoolPut
	if err := r.Decode(&put); err != nil {
		return Fail(err)
	}
	if err := a.svc.UpdatePool(r.Context(), r.Var("pool"), put, r.Method == "PATCH", ifMatch(r)); err != nil {
		return Fail(err)
	}
	return Empty()
}

func (a storagePoolsAPI) delete(r *Request) Response {
	if err := a.svc.DeletePool(r.Context(), r.Var("pool")); err != nil {
		return Fail(err)
	}
	return Empty()
}

func (a storagePoolsAPI) resources(r *Request) Response {
	res, err := a.svc.Resources(r.Context(), r.Var("pool"))
	if err != nil {
		return Fail(err)
	}
	return Sync(res)
}

// ifMatch checks the caller's If-Match against the revision that a change is about to replace.
func ifMatch(r *Request) func(store.Revision) error {
	return func(rev store.Revision) error { return r.IfMatch(ETag(rev)) }
}
