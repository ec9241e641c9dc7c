package server

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
)

type operationsAPI struct{ ops *operation.Manager }

func (a operationsAPI) routes() []Route {
	if a.ops == nil {
		return nil
	}
	return []Route{
		{Method: "GET", Path: "/1.0/operations", Handle: a.list},
		{Method: "GET", Path: "/1.0/operations/{id}", Handle: a.get},
		{Method: "DELETE", Path: "/1.0/operations/{id}", Handle: a.cancel},
		// These two are open to whoever knows the operation's secret: another server that fetches from this one.
		{Method: "GET", Path: "/1.0/operations/{id}/wait", Public: true, Handle: a.wait},
		{Method: "GET", Path: "/1.0/operations/{id}/websocket", Public: true, Handle: a.websocket},
	}
}

// list answers with operations by state: {"running": […], "success": […]}.
func (a operationsAPI) list(r *Request) Response {
	project := r.Project()
	if r.AllProjects() {
		project = ""
	}
	if r.Recursion() > 0 {
		byStatus := map[string][]api.Operation{}
		for _, o := range a.ops.List(project) {
			op := o.Snapshot()
			key := strings.ToLower(op.Status)
			byStatus[key] = append(byStatus[key], op)
		}
		return Sync(byStatus)
	}
	byStatus := map[string][]string{}
	for _, o := range a.ops.List(project) {
		key := strings.ToLower(o.Status().String())
		byStatus[key] = append(byStatus[key], o.URL())
	}
	return Sync(byStatus)
}

func (a operationsAPI) get(r *Request) Response {
	o, err := a.ops.Get(r.Var("id"))
	if err != nil {
		return Fail(err)
	}
	return Sync(o.Snapshot())
}

func (a operationsAPI) cancel(r *Request) Response {
	o, err := a.ops.Get(r.Var("id"))
	if err != nil {
		return Fail(err)
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
	return Sync(o.Snapshot())
}

func (a operationsAPI) websocket(r *Request) Response {
	o, err := a.ops.Get(r.Var("id"))
	if err != nil {
		return Fail(err)
	}
	secret := r.Query("secret")
	if secret == "" {
		return Fail(api.BadRequest("missing secret"))
	}
	return Raw(func(w http.ResponseWriter, hr *http.Request) error { return o.Connect(secret, w, hr) })
}

// open finds an operation for a caller who is trusted or knows its secret. To anybody else none exists.
func (a operationsAPI) open(r *Request) (*operation.Operation, error) {
	o, err := a.ops.Get(r.Var("id"))
	if err != nil {
		return nil, err
	}
	if r.Trusted() || o.HasSecret(r.Query("secret")) {
		return o, nil
	}
	return nil, api.Forbidden("not authorized")
}
