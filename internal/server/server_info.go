package server

import (
	"reflect"
	"sync/atomic"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/serverconfig"
	"github.com/berthd/berth/internal/store"
)

// Environment describes host and daemon; project is the one asked for. It must be cheap: GET /1.0 is what clients
// begin with.
type Environment func(project string) api.ServerEnvironment

type serverAPI struct {
	config      *serverconfig.Service
	environment Environment
	last        *atomic.Pointer[lastServer]
}

// lastServer is an answer to GET /1.0 that was encoded once, with what it was encoded from. It stays right for as
// long as that does not change, and most of what is in it never does.
type lastServer struct {
	revision    store.Revision
	environment api.ServerEnvironment
	answer      Response
}

func (a serverAPI) routes() []Route {
	if a.config == nil {
		return nil
	}
	return []Route{
		{Method: "GET", Path: "/1.0", Public: true, Handle: a.get},
		{Method: "PUT", Path: "/1.0", Need: Need{May: access.CanEdit, On: access.Server}, Handle: a.put},
		{Method: "PATCH", Path: "/1.0", Need: Need{May: access.CanEdit, On: access.Server}, Handle: a.patch},
	}
}

func (a serverAPI) get(r *Request) Response {
	about := api.ServerUntrusted{
		APIExtensions: api.Extensions, APIStatus: "stable", APIVersion: "1.0", Auth: "untrusted",
		AuthMethods: []string{"tls"},
	}
	if !r.Trusted() {
		return Sync(about)
	}
	about.Auth = "trusted"
	environment := a.environment(r.Project())
	if !r.caller.May(access.Viewer, access.Object{Entity: access.Server}) {
		return Sync(api.Server{ServerUntrusted: about, Environment: environment}) // the configuration is for those who may see it all
	}
	rev := a.config.Revision()
	if last := a.last.Load(); last != nil && last.revision == rev && reflect.DeepEqual(last.environment, environment) {
		return last.answer
	}
	shown, rev := a.config.Show()
	answer, err := encodeSync(api.Server{
		ServerPut: api.ServerPut{Config: shown}, ServerUntrusted: about, Environment: environment,
	}, r.server.shownETag(ETag(rev)))
	if err != nil {
		return Fail(err)
	}
	a.last.Store(&lastServer{revision: rev, environment: environment, answer: answer})
	return answer
}

func (a serverAPI) put(r *Request) Response {
	var req api.ServerPut
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	return done(a.config.Replace(r.Context(), req.Config, matches(r)))
}

func (a serverAPI) patch(r *Request) Response {
	var req api.ServerPut
	if err := r.Decode(&req); err != nil {
		return Fail(err)
	}
	return done(a.config.Merge(r.Context(), req.Config, matches(r)))
}

// matches makes the check of If-Match that services ask before they change an object.
func matches(r *Request) func(store.Revision) error {
	return func(rev store.Revision) error { return r.IfMatch(ETag(rev)) }
}

// done answers with nothing, or with the error.
func done(err error) Response {
	if err != nil {
		return Fail(err)
	}
	return Empty()
}
