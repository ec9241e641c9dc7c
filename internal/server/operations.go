package server

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/request"
)

type operationsAPI struct{ ops *operation.Manager }

func (a operationsAPI) routes() []Route {
	if a.ops == nil {
		return nil
	}
	return []Route{
		{Method: "GET", Path: "/1.0/operations", Need: AnyoneTrusted, Handle: a.list},
		{Method: "GET", Path: "/1.0/operations/{id}", Need: AnyoneTrusted, Handle: a.get},
		{Method: "DELETE", Path: "/1.0/operations/{id}", Need: AnyoneTrusted, Handle: a.cancel},
		// These two are open to whoever knows the operation's secret: another server that fetches from this one.
		{Method: "GET", Path: "/1.0/operations/{id}/wait", Public: true, Handle: a.wait},
		{Method: "GET", Path: "/1.0/operations/{id}/websocket", Public: true, Handle: a.websocket},
	}
}

// list answers with operations by state: {"running": […], "success": […]}. Whoever may not see those of a project sees none.
func (a operationsAPI) list(r *Request) Response {
	project := r.Project()
	if r.AllProjects() {
		project = ""
	}
	byStatus, urls := map[string][]api.Operation{}, map[string][]string{}
	for _, o := range a.ops.List(project) {
		if !mayFollow(r, o) {
			continue
		}
		if r.Recursion() == 0 {
			key := strings.ToLower(o.Status().String())
			urls[key] = append(urls[key], o.URL())
			continue
		}
		op := o.SnapshotFor(r.caller)
		key := strings.ToLower(op.Status)
		byStatus[key] = append(byStatus[key], op)
	}
	if r.Recursion() > 0 {
		return Sync(byStatus)
	}
	return Sync(urls)
}

// mayFollow tells whether the caller sees an operation: their own, or those that they may. One that is of no project is the server's.
func mayFollow(r *Request, o *operation.Operation) bool {
	of := access.InProject(o.Project())
	if of.Name == "" {
		of = access.Object{Entity: access.Server}
	}
	return r.caller.May(access.CanViewOperations, of) || r.Trusted() && o.Owned(r.caller)
}

// find is an operation that the caller sees.
func (a operationsAPI) find(r *Request) (*operation.Operation, error) {
	o, err := a.ops.Get(r.Var("id"))
	if err == nil && !mayFollow(r, o) {
		return nil, operation.ErrNotFound
	}
	return o, err
}

func (a operationsAPI) get(r *Request) Response {
	o, err := a.find(r)
	if err != nil {
		return Fail(err)
	}
	return Sync(o.SnapshotFor(r.caller))
}

// cancel takes more than to see an operation: it is for whoever asked for it and for those who may change things in its project.
func (a operationsAPI) cancel(r *Request) Response {
	o, err := a.find(r)
	if err != nil {
		return Fail(err)
	}
	if !o.Owned(r.caller) && !r.caller.May(access.Operator, access.InProject(o.Project())) {
		return Fail(request.ErrNotAuthorized)
	}
	if err := o.Cancel(); err != nil {
		return Fail(err)
	}
	return Empty()
}

// wait answers once the operation has ended, or timeout seconds have passed, with its state. Without a timeout, or
// with a negative one, it waits as long as the caller does.
func (a operationsAPI) wait(r *Request) Response {
	o, err := a.open(r)
	if err != nil {
		return Fail(err)
	}
	seconds := -1
	if text := r.Query("timeout"); text != "" {
		if seconds, err = strconv.Atoi(text); err != nil {
			return Fail(api.BadRequest("invalid timeout %q: a number of seconds is allowed", text))
		}
	}
	ctx := r.Context()
	if seconds >= 0 {
		limited, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
		defer cancel()
		ctx = limited
	}
	// A client that is told nothing for long gives up on the connection: the status goes out when it is known.
	if err := o.Wait(ctx); err != nil && errors.Is(r.Context().Err(), context.Canceled) {
		return nil
	}
	return Sync(o.SnapshotFor(r.caller))
}

// websocket is for whoever has one of the operation's secrets. Who sees the operation hears what is wrong with it, to others there is none.
func (a operationsAPI) websocket(r *Request) Response {
	secret := r.Query("secret")
	if secret == "" {
		return Fail(api.BadRequest("missing secret"))
	}
	o, err := a.ops.Get(r.Var("id"))
	if err == nil && !mayFollow(r, o) && !o.HasSecret(secret) {
		err = operation.ErrNotFound
	}
	if err != nil {
		return Fail(err)
	}
	return Raw(func(w http.ResponseWriter, hr *http.Request) error { return o.Connect(secret, w, hr) })
}

// open finds an operation for a caller who sees it or knows its secret. To anybody else none exists, and whoever is not trusted is told so
// whether it does or not.
func (a operationsAPI) open(r *Request) (*operation.Operation, error) {
	o, err := a.ops.Get(r.Var("id"))
	if err == nil && (mayFollow(r, o) || o.HasSecret(r.Query("secret"))) {
		return o, nil
	}
	if !r.Trusted() {
		return nil, request.ErrNotAuthorized
	}
	return nil, operation.ErrNotFound
}
