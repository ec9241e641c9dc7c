package server

import (
	"encoding/json"
	"io"
	"path"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/instance"
	"github.com/berthd/berth/internal/project"
)

type instancesAPI struct{ svc *instance.Service }

func (a instancesAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	var routes []Route
	add := func(method, path string, need Need, handle func(*Request) Response) {
		routes = append(routes, both(method, path, need, handle)...)
	}
	add("GET", "", Need{May: access.CanViewInstances, On: access.Instance, Lists: true, Rows: true}, a.list)
	add("POST", "", amid(access.Instance, access.CanCreateInstances), a.create)
	add("PUT", "", amid(access.Instance, access.CanOperate), a.stateAll)
	add("GET", "/{name}", ofInstance(access.CanView), a.get)
	add("PUT", "/{name}", ofInstance(access.CanEdit), a.put)
	add("PATCH", "/{name}", ofInstance(access.CanEdit), a.patch)
	add("POST", "/{name}", ofInstance(access.CanEdit), a.post)
	add("DELETE", "/{name}", ofInstance(access.CanDelete), a.delete)
	a.stateRoutes(add)
	a.snapshotRoutes(add)
	a.metadataRoutes(add)
	a.logRoutes(add)
	return routes
}

// list answers with all instances, under the name of the collection that was asked.
func (a instancesAPI) list(r *Request) Response {
	clauses, err := r.Filter()
	if err != nil {
		return Fail(err)
	}
	of := r.Project()
	if r.AllProjects() {
		of = ""
	}
	base := collection(r)
	kind := func(t string) bool { return base != "/1.0/virtual-machines" && t == string(api.InstanceTypeContainer) }
	if base == "/1.0/instances" {
		kind = func(string) bool { return true }
	}
	byType := func(t api.InstanceType) bool { return kind(string(t)) }
	namesOnly := r.Recursion() == 0 && clauses.Empty()
	if !namesOnly {
		if err := r.server.waitForStart(r, true); err != nil {
			return Fail(err)
		}
	}
	if r.Recursion() > 0 && clauses.Empty() { // the usual case, and that of many instances
		return list(func(w io.Writer) error {
			return a.svc.WriteList(r.Context(), w, of, r.Recursion() >= 2, byType)
		})
	}
	if r.Recursion() >= 2 {
		full := a.svc.ListFull(r.Context(), of, func(i *api.InstanceFull) bool { return kind(i.Type) && clauses.Match(i) })
		return Sync(orEmpty(full))
	}
	urls := []string{}
	add := func(of, name string) { urls = append(urls, project.URL(of, path.Base(base), name)) }
	if namesOnly {
		a.svc.Names(r.Context(), of, byType, add)
		return Sync(urls)
	}
	found := a.svc.List(r.Context(), of, func(i *api.Instance) bool { return kind(i.Type) && clauses.Match(i) })
	if r.Recursion() == 1 {
		return Sync(orEmpty(found))
	}
	for _, i := range found {
		add(i.Project, i.Name)
	}
	return Sync(urls)
}

// collection is the name that the request knows instances by.
func collection(r *Request) string {
	for _, base := range []string{"/1.0/containers", "/1.0/virtual-machines"} {
		if strings.HasPrefix(r.URL.Path, base) {
			return base
		}
	}
	return "/1.0/instances"
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (a instancesAPI) create(r *Request) Response {
	var req api.InstancesPost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	if req.Type == "" && collection(r) == "/1.0/virtual-machines" {
		req.Type = api.InstanceTypeVM
	}
	task, err := a.svc.Create(r.Context(), r.Project(), req)
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}

func (a instancesAPI) get(r *Request) Response {
	if r.Recursion() > 0 {
		full, rev, err := a.svc.GetFull(r.Context(), r.Project(), r.Var("name"))
		if err != nil {
			return Fail(err)
		}
		return SyncETag(full, ETag(rev))
	}
	i, rev, err := a.svc.Get(r.Context(), r.Project(), r.Var("name"))
	if err != nil {
		return Fail(err)
	}
	return SyncETag(i, ETag(rev))
}

// match checks the caller's If-Match against the instance as it is.
func (a instancesAPI) match(r *Request) error {
	_, rev, err := a.svc.Get(r.Context(), r.Project(), r.Var("name"))
	if err != nil {
		return err
	}
	return r.IfMatch(ETag(rev))
}

func (a instancesAPI) put(r *Request) Response {
	var req api.InstancePut
	if err := a.match(r); err != nil {
		return Fail(err)
	}
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	task, err := a.svc.Put(r.Context(), r.Project(), r.Var("name"), req, ifMatch(r))
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}

func (a instancesAPI) patch(r *Request) Response {
	var req api.InstancePut
	if err := a.match(r); err != nil {
		return Fail(err)
	}
	has, err := decodePatch(r, &req)
	if err != nil {
		return Fail(err)
	}
	if err := a.svc.Patch(r.Context(), r.Project(), r.Var("name"), req, has, ifMatch(r)); err != nil {
		return Fail(err)
	}
	return Empty()
}

// decodePatch reads a body and tells which fields it has: a PATCH leaves the others alone.
func decodePatch(r *Request, v any) (has func(field string) bool, err error) {
	var body json.RawMessage
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, api.BadRequest("%w", err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return nil, api.BadRequest("%w", err)
	}
	return func(field string) bool { _, ok := fields[field]; return ok }, nil
}

func (a instancesAPI) post(r *Request) Response {
	var req api.InstancePost
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	task, err := a.svc.Post(r.Context(), r.Project(), r.Var("name"), req)
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}

func (a instancesAPI) delete(r *Request) Response {
	task, err := a.svc.Delete(r.Context(), r.Project(), r.Var("name"))
	if err != nil {
		return Fail(err)
	}
	return Async(task)
}
