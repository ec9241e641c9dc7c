package server

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

// FuzzRequest: whatever is asked, the answer is one envelope whose code is the status, and never a crash.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/1.0/things/x?recursion=1&filter=name+eq+x", "", `"5"`)
	f.Add("PUT", "/1.0/things/a%2Fb", `{"config":{"a":"b"},"devices":null}`, "5")
	f.Add("PATCH", "/1.0/things/..", `{"config":[]}`, "*")
	f.Add("POST", "/1.0/things/%00", `{} {}`, "")
	f.Add("DELETE", "//", "null", "W/\"5\"")
	s := testServer(f, root)
	handle := func(r *Request) Response {
		if _, err := r.Filter(); err != nil {
			return Fail(err)
		}
		if err := r.IfMatch("5"); err != nil {
			return Fail(err)
		}
		var put api.InstancesPost
		if err := r.Decode(&put); err != nil {
			return Fail(err)
		}
		return SyncETag(map[string]any{"name": r.Var("name"), "recursion": r.Recursion(), "project": r.Project()}, "5")
	}
	for _, method := range []string{"GET", "PUT", "PATCH", "POST", "DELETE"} {
		s.router.add(Route{Method: method, Path: "/1.0/things/{name}", Handle: handle})
	}
	f.Fuzz(func(t *testing.T, method, target, body, etag string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || method == "" || strings.HasPrefix(u.Path, "/1.0/events") || strings.HasPrefix(u.Path, "/1.0/resources") {
			return
		}
		r, err := http.NewRequest(method, "http://host"+u.RequestURI(), strings.NewReader(body))
		if err != nil {
			return
		}
		r.Header["If-Match"] = []string{etag}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusNotImplemented && !strings.HasPrefix(u.Path, "/1.0/cluster") {
			t.Errorf("%s %s: %d %s", method, target, w.Code, w.Body)
		}
	})
}
