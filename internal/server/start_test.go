package server

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// starting is a daemon whose start a test takes on step by step.
type starting struct{ adopted, recovered, ready chan struct{} }

func (s starting) Adopted() <-chan struct{}           { return s.adopted }
func (s starting) Recovered() <-chan struct{}         { return s.recovered }
func (s starting) Ready() <-chan struct{}             { return s.ready }
func (s starting) Shutdown(bool, time.Duration) error { return nil }

// The API answers at once, but never from what it does not know yet: a read of what runs waits for that alone, a change
// for the whole of the clearing up.
func TestWhatARequestWaitsForAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life := starting{make(chan struct{}), make(chan struct{}), make(chan struct{})}
		ok := func(*Request) Response { return Empty() }
		list := func(r *Request) Response {
			if err := r.server.waitForStart(r, r.Recursion() > 0); err != nil {
				return Fail(err)
			}
			return Empty()
		}
		routes := append(both(http.MethodGet, "", FullRights, list), both(http.MethodGet, "/{name}", FullRights, ok)...)
		routes = append(routes, both(http.MethodHead, "/{name}/files", FullRights, ok)...)
		routes = append(routes, both(http.MethodPut, "/{name}", FullRights, ok)...)
		s := testServer(t, root, append(routes, Route{Method: http.MethodGet, Path: "/1.0/profiles", Handle: ok})...)
		s.services.Lifetime = life
		answered := make(chan string, 16)
		for _, what := range []string{
			"GET /1.0/profiles", "GET /1.0/instances", "GET /1.0/instances?recursion=1", "GET /1.0/containers/c1", "HEAD /1.0/instances/c1/files",
			"PUT /1.0/instances/c1",
		} {
			method, url := what[:4], what[4:]
			if method[3] == ' ' {
				method = method[:3]
			} else {
				url = url[1:]
			}
			go func() {
				if code, _, _ := call(t, s, method, url, ""); code != http.StatusOK {
					t.Errorf("%s: %d", what, code)
				}
				answered <- what
			}()
		}
		expect := func(when string, n int) {
			t.Helper()
			synctest.Wait()
			if len(answered) != n {
				t.Errorf("%s: %d have an answer", when, len(answered))
			}
		}
		expect("at once", 2)
		close(life.adopted)
		expect("when it is known what runs", 5)
		close(life.recovered)
		expect("when all is cleared up", 6)
	})
}
