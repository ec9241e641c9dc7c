package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

type fixedAuth request.Caller

func (f fixedAuth) Authenticate(*http.Request) request.Caller { return request.Caller(f) }

var root = fixedAuth{Protocol: "unix", Username: "root", Address: "@", Trusted: true, Rights: access.Full()}

// testServer is a server with the given routes beside its own.
func testServer(t testing.TB, auth Authenticator, routes ...Route) *Server {
	t.Helper()
	hub := event.NewHub()
	ops := operation.NewManager(hub)
	s := New(Services{Operations: ops, Events: hub}, auth)
	for _, r := range routes {
		s.router.add(r)
	}
	t.Cleanup(func() {
		if err := ops.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		hub.Close()
	})
	return s
}

// call makes a request and returns status, headers and the decoded envelope.
func call(t testing.TB, s http.Handler, method, url, body string, header ...string) (int, http.Header, api.Response) {
	t.Helper()
	r := httptest.NewRequest(method, url, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var env api.Response
	data, _ := io.ReadAll(w.Body)
	if len(data) > 0 {
		if err := json.Unmarshal(data, &env); err != nil {
			t.Fatalf("%s %s: %v in %q", method, url, err, data)
		}
	}
	return w.Code, w.Header(), env
}

func TestEnvelope(t *testing.T) {
	s := testServer(t, root,
		Route{Method: "GET", Path: "/1.0/ok", Handle: func(*Request) Response { return SyncETag([]string{"a"}, ETag(7)) }},
		Route{Method: "POST", Path: "/1.0/made", Handle: func(*Request) Response { return Created("/1.0/made/x") }},
		Route{Method: "GET", Path: "/1.0/gone", Handle: func(*Request) Response { return Fail(api.NotFound("Thing not found")) }},
		Route{Method: "GET", Path: "/1.0/odd", Handle: func(*Request) Response { return Fail(errors.New("disk on fire")) }},
		Route{Method: "GET", Path: "/1.0/crash", Handle: func(*Request) Response { panic("boom") }},
	)
	tests := []struct {
		method, url string
		status      int
		text        string
	}{
		{"GET", "/", 200, ""},
		{"GET", "/1.0/ok", 200, ""},
		{"POST", "/1.0/made", 201, ""},
		{"GET", "/1.0/gone", 404, "Thing not found"},
		{"GET", "/1.0/odd", 500, "disk on fire"},
		{"GET", "/1.0/crash", 500, "internal error"},
		{"GET", "/1.0/unknown", 404, "not found"},
		{"GET", "/foo", 404, "not found"},
		{"DELETE", "/1.0/ok", 501, "not implemented"},
	}
	for _, tt := range tests {
		status, header, env := call(t, s, tt.method, tt.url, "")
		if status != tt.status || env.Error != tt.text {
			t.Errorf("%s %s: %d %q, want %d %q", tt.method, tt.url, status, env.Error, tt.status, tt.text)
		}
		if tt.status >= 400 && (env.Type != api.ErrorResponse || env.ErrorCode != tt.status) {
			t.Errorf("%s %s: envelope %+v", tt.method, tt.url, env)
		}
		if tt.url == "/1.0/ok" && tt.status == 200 && header.Get("ETag") != `"7"` {
			t.Errorf("ETag %s", header.Get("ETag"))
		}
		if tt.url == "/1.0/made" && header.Get("Location") != "/1.0/made/x" {
			t.Errorf("Location %s", header.Get("Location"))
		}
	}
}

func TestUntrusted(t *testing.T) {
	s := testServer(t, fixedAuth{Protocol: "tls"},
		Route{Method: "GET", Path: "/1.0/public", Public: true, Handle: func(r *Request) Response { return Sync(r.Trusted()) }})
	for url, want := range map[string]int{"/": 200, "/1.0/public": 200, "/1.0/operations": 403, "/1.0/events": 403, "/1.0/x": 404} {
		if status, _, _ := call(t, s, "GET", url, ""); status != want {
			t.Errorf("%s: %d, want %d", url, status, want)
		}
	}
}

func TestRequest(t *testing.T) {
	var got *Request
	s := testServer(t, root,
		Route{Method: "PUT", Path: "/1.0/things/{name}", Handle: func(r *Request) Response {
			got = r
			if err := r.IfMatch("5"); err != nil {
				return Fail(err)
			}
			var body struct {
				Name string `json:"name"`
			}
			if err := r.Decode(&body); err != nil {
				return Fail(err)
			}
			return Sync(body.Name)
		}})
	url := "/1.0/things/a%2Fb?project=p&recursion=2&all-projects=true"
	status, _, _ := call(t, s, "PUT", url, `{"name":"n","unknown":1}`, "If-Match", `"5"`)
	if status != 200 || got.Var("name") != "a/b" || got.Project() != "p" || got.Recursion() != 2 || !got.AllProjects() {
		t.Errorf("%d %q %q %d %v", status, got.Var("name"), got.Project(), got.Recursion(), got.AllProjects())
	}
	for body, want := range map[string]int{
		`{"name":"n"}`: 200, `{"name":5}`: 400, `{"name":"n"} {}`: 400, ``: 400, `garbage`: 400,
		`{"name":"` + strings.Repeat("x", MaxBody) + `"}`: 413,
	} {
		if status, _, env := call(t, s, "PUT", url, body); status != want {
			t.Errorf("%.20s: %d %s, want %d", body, status, env.Error, want)
		}
	}
	if status, _, env := call(t, s, "PUT", url, `{}`, "If-Match", "x"); status != 412 || env.Error != "ETag doesn't match: 5 vs x" {
		t.Errorf("%d %s", status, env.Error)
	}
}

func TestRouter(t *testing.T) {
	var rt router
	for _, p := range []string{"/", "/1.0", "/1.0/images/{fp}", "/1.0/images/{fp}/export", "/1.0/images/aliases", "/1.0/images/aliases/{name...}"} {
		rt.add(Route{Method: "GET", Path: p})
	}
	tests := []struct{ path, want, name, value string }{
		{"/", "/", "", ""},
		{"/1.0", "/1.0", "", ""},
		{"/1.0/", "", "", ""},
		{"//1.0", "", "", ""},
		{"/1.0/images/abc", "/1.0/images/{fp}", "fp", "abc"},
		{"/1.0/images/abc/export", "/1.0/images/{fp}/export", "fp", "abc"},
		{"/1.0/images/aliases/export", "/1.0/images/aliases/{name...}", "name", "export"},
		{"/1.0/images/aliases/debian/12", "/1.0/images/aliases/{name...}", "name", "debian/12"},
		{"/1.0/images/aliases/debian%2F12", "/1.0/images/aliases/{name...}", "name", "debian/12"},
		{"/1.0/images/abc/other", "", "", ""},
		{"/1.0/images/%zz", "", "", ""},
	}
	for _, tt := range tests {
		methods, vars := rt.find(tt.path)
		if methods["GET"].Path != tt.want || vars[tt.name] != tt.value {
			t.Errorf("%s: %q %v", tt.path, methods["GET"].Path, vars)
		}
	}
}

func TestAsync(t *testing.T) {
	release := make(chan struct{})
	s := testServer(t, root, Route{Method: "POST", Path: "/1.0/work", Handle: func(*Request) Response {
		return Async(&operation.Task{Description: "Working", Run: func(ctx context.Context, p operation.Progress) error {
			p.Update(map[string]any{"step": 1})
			select {
			case <-release:
				return errors.New("no luck")
			case <-ctx.Done():
				return ctx.Err()
			}
		}})
	}})
	status, header, env := call(t, s, "POST", "/1.0/work", "")
	if status != 202 || env.StatusCode != 100 || env.Operation == "" || header.Get("Location") != env.Operation {
		t.Fatalf("%d %+v", status, env)
	}
	if _, _, list := call(t, s, "GET", "/1.0/operations", ""); !strings.Contains(string(list.Metadata), `"running":["`+env.Operation) {
		t.Errorf("list %s", list.Metadata)
	}
	if _, _, w := call(t, s, "GET", env.Operation+"/wait?timeout=0", ""); !strings.Contains(string(w.Metadata), `"Running"`) {
		t.Errorf("wait %s", w.Metadata)
	}
	close(release)
	for range 2 { // the answer can be had more than once
		_, _, w := call(t, s, "GET", env.Operation+"/wait?timeout=10", "")
		var op api.Operation
		if err := json.Unmarshal(w.Metadata, &op); err != nil || op.StatusCode != api.Failure || op.Err != "no luck" {
			t.Errorf("%v %+v", err, op)
		}
	}
}

func TestUnknownProject(t *testing.T) {
	ok := func(*Request) Response { return Empty() }
	var routes []Route
	for _, path := range []string{"/1.0", "/1.0/profiles", "/1.0/instances", "/1.0/containers", "/1.0/virtual-machines", "/1.0/instances/{name}",
		"/1.0/warnings", "/1.0/storage-pools"} {
		routes = append(routes, Route{Method: "GET", Path: path, Handle: ok})
	}
	s := testServer(t, root, append(routes, Route{Method: "POST", Path: "/1.0/instances", Handle: ok})...)
	s.services.Projects = oneProject(t)
	for _, tt := range []struct {
		method, url string
		status      int
	}{
		{"GET", "/1.0/profiles?project=default", 200},
		{"GET", "/1.0/profiles?project=foo", 404},
		{"GET", "/1.0/instances?project=foo", 404},
		{"GET", "/1.0/instances?project=default", 200},
		{"GET", "/1.0/instances?all-projects=true", 200},
		{"GET", "/1.0/containers?project=foo", 404},
		{"GET", "/1.0/virtual-machines?project=foo", 404},
		{"GET", "/1.0/instances/c1?project=foo", 404},
		{"GET", "/1.0/operations?project=foo", 404},
		{"GET", "/1.0/warnings?project=foo", 404},
		{"GET", "/1.0/storage-pools?project=foo", 404},
		{"GET", "/1.0?project=foo", 200}, // clients ask it first, of any project
		{"POST", "/1.0/instances?project=foo", 404},
	} {
		status, _, env := call(t, s, tt.method, tt.url, "")
		if status != tt.status || status == 404 && env.Error != `Failed loading project "foo": Project not found` {
			t.Errorf("%s %s: %d %s", tt.method, tt.url, status, env.Error)
		}
	}
}

// oneProject is the projects of a server that has no other than the default one.
func oneProject(t *testing.T) *project.Service {
	t.Helper()
	db := store.New(store.NewMemory())
	projects := project.New(project.Deps{Store: db, Events: event.NewHub(), Locks: &lock.Manager{}, Users: func(string) []string { return nil }})
	if err := db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return projects
}
