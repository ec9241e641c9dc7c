package server

import (
	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/warning"
)

type warningsAPI struct{ svc *warning.Service }

func (a warningsAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	const one = "/1.0/warnings/{id}"
	return []Route{
		{Method: "GET", Path: "/1.0/warnings", Need: Need{May: access.CanViewWarnings, On: access.Server}, Handle: a.list},
		{Method: "GET", Path: one, Need: Need{May: access.CanViewWarnings, On: access.Server}, Handle: a.get},
		{Method: "PUT", Path: one, Need: Need{May: access.CanEdit, On: access.Server}, Handle: a.put},
		{Method: "PATCH", Path: one, Need: Need{May: access.CanEdit, On: access.Server}, Handle: a.put},
		{Method: "DELETE", Path: one, Need: Need{May: access.CanEdit, On: access.Server}, Handle: a.remove},
	}
}

func (a warningsAPI) list(r *Request) Response {
	f, err := r.Filter()
	if err != nil {
		return Fail(err)
	}
	list := a.svc.List(r.Query("project"), f)
	if r.Recursion() > 0 {
		return Sync(list)
	}
	urls := make([]string, 0, len(list))
	for _, w := range list {
		urls = append(urls, warning.URL(w.UUID))
	}
	return Sync(urls)
}

func (a warningsAPI) get(r *Request) Response {
	w, rev, err := a.svc.Get(r.Var("id"))
	if err != nil {
		return Fail(err)
	}
	return SyncETag(w, ETag(rev))
}

func (a warningsAPI) put(r *Request) Response {
	var put api.WarningPut
	if err := r.Decode(&put); err != nil {
		return Fail(err)
	}
	return done(a.svc.SetStatus(r.Context(), r.Var("id"), put.Status, matches(r)))
}

func (a warningsAPI) remove(r *Request) Response {
	return done(a.svc.Delete(r.Context(), r.Var("id")))
}
