package server

import (
	"errors"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/berthd/berth/api"
)

// Lifetime is what the programs of this machine ask of the daemon itself.
type Lifetime interface {
	// Ready is closed once the daemon has done all that belongs to its start.
	Ready() <-chan struct{}
	// Adopted is closed once it is known which instances run; what depends on that waits for it.
	Adopted() <-chan struct{}
	// Recovered is closed once what a sudden end left behind is cleared up; changes wait for it.
	Recovered() <-chan struct{}
	// Shutdown ends the daemon and its instances: with force at once, else when operations have ended or timeout (if
	// more than 0) has passed. It returns when the instances have stopped.
	Shutdown(force bool, timeout time.Duration) error
}

type internalAPI struct{ life Lifetime }

func (a internalAPI) routes() []Route {
	if a.life == nil {
		return nil
	}
	return []Route{
		{Method: "GET", Path: "/internal/ready", Need: FullRights, Handle: a.ready},
		{Method: "PUT", Path: "/internal/shutdown", Need: FullRights, Handle: a.shutdown},
		{Method: "GET", Path: "/internal/gc", Need: FullRights, Handle: a.collect},
	}
}

var errLocalOnly = api.Forbidden("only for programs of this machine")

// ready answers as soon as the daemon is ready, or says that it is not after a while.
func (a internalAPI) ready(r *Request) Response {
	if r.caller.Protocol != "unix" {
		return Fail(errLocalOnly)
	}
	select {
	case <-a.life.Ready():
		return Empty()
	case <-r.Context().Done():
		return nil
	case <-time.After(10 * time.Second):
		return Fail(api.Unavailable("daemon is still starting"))
	}
}

// collect gives memory that is no longer used back to the system, for those who measure.
func (a internalAPI) collect(r *Request) Response {
	if r.caller.Protocol != "unix" {
		return Fail(errLocalOnly)
	}
	debug.FreeOSMemory()
	return Empty()
}

func (a internalAPI) shutdown(r *Request) Response {
	if r.caller.Protocol != "unix" {
		return Fail(errLocalOnly)
	}
	timeout := time.Duration(0)
	if text := r.Query("timeout"); text != "" {
		var err error
		if timeout, err = time.ParseDuration(text); err != nil || timeout < 0 {
			return Fail(api.BadRequest("invalid timeout %q: a duration such as 30s is allowed", text))
		}
	}
	return done(a.life.Shutdown(isTrue(r.Query("force")), timeout))
}

// waitForStart lets a change wait until the daemon has cleared up what a sudden end left behind, and a read of what
// runs until that is known. Other reads do not wait.
func (s *Server) waitForStart(r *Request, live bool) error {
	life := s.services.Lifetime
	switch {
	case life == nil || strings.HasPrefix(r.URL.Path, "/internal/"):
		return nil
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return wait(r, life.Recovered())
	case live:
		return wait(r, life.Adopted())
	}
	return nil
}

func wait(r *Request, event <-chan struct{}) error {
	select {
	case <-event:
		return nil
	default:
	}
	select {
	case <-event:
		return nil
	case <-r.Context().Done():
		return errors.New("the caller has gone")
	}
}
