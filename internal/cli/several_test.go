package cli

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

// failing answers with an operation that has failed.
func failing(text string) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		raw, _ := json.Marshal(api.Operation{ID: "2", Status: "Failure", StatusCode: api.Failure, Err: text})
		envelope(w, http.StatusAccepted, api.Response{Type: api.AsyncResponse, Operation: "/1.0/operations/2", Metadata: raw})
	}
}

// houseOf knows instances, of which "bad" does nothing that is asked of it.
func houseOf(t *testing.T, status api.StatusCode, names ...string) *fakeServer {
	f := newFake(t)
	for _, name := range names {
		path := "/1.0/instances/" + name
		f.gives("GET "+path, api.Instance{Name: name, Status: status.String(), StatusCode: status})
		f.answers["PUT "+path+"/state"], f.answers["DELETE "+path] = ended, ended
		if name == "bad" {
			f.answers["PUT "+path+"/state"], f.answers["DELETE "+path] = failing("it is out of order"), failing("it is out of order")
		}
	}
	return f
}

// Whichever of several instances a change of state fails for, it is said, the others are done, and a script sees it.
func TestOneOfSeveralFails(t *testing.T) {
	for _, verb := range []string{"start", "stop", "restart", "pause"} {
		f := houseOf(t, api.Running, "a", "bad", "c")
		for _, order := range [][]string{{"bad", "a", "c"}, {"a", "bad", "c"}, {"a", "c", "bad"}, {"a", "nosuch", "c"}} {
			f.seen = nil
			got := berth("", append([]string{verb}, order...)...)
			wrong := "bad: error: it is out of order\n"
			if slices.Contains(order, "nosuch") {
				wrong = "nosuch: error: not found\n"
			}
			if got.code != 1 || !strings.Contains(got.err, wrong) || !strings.Contains(got.err, "Error: Some instances failed to "+verb+"\n") {
				t.Errorf("%s %v: %+v", verb, order, got)
			}
			for _, name := range []string{"a", "c"} {
				if n := len(f.asked("PUT /1.0/instances/" + name + "/state")); n != 1 {
					t.Errorf("%s %v: %s was asked %d times", verb, order, name, n)
				}
			}
		}
		if got := berth("", verb, "bad"); got.code != 1 || !strings.Contains(got.err, "Error: it is out of order\n") || strings.Contains(got.err, "Some instances") {
			t.Errorf("%s of one alone: %+v", verb, got)
		}
		if got := berth("", verb, "a", "c"); got.code != 0 || got.err != "" {
			t.Errorf("%s of what is in order: %+v", verb, got)
		}
	}
}

// A server that changes all at once by itself is not needed for --all, nor does one failure keep the others from being done.
func TestOneOfAllFails(t *testing.T) {
	f := houseOf(t, api.Running, "a", "bad", "c")
	f.gives("GET /1.0", map[string]any{"auth": "trusted", "environment": map[string]any{}})
	var all []api.Instance
	for _, name := range []string{"a", "bad", "c"} {
		all = append(all, api.Instance{Name: name, StatusCode: api.Running})
	}
	f.gives("GET /1.0/instances", all)
	got := berth("", "stop", "--all")
	if got.code != 1 || !strings.Contains(got.err, "bad: error: it is out of order\n") || len(f.asked("PUT ")) != 3 {
		t.Errorf("%+v, %q", got, f.asked("PUT "))
	}
}

// A typing error in one name costs none of the others.
func TestADeleteLooksAtAllFirst(t *testing.T) {
	f := houseOf(t, api.Stopped, "a", "bad", "c")
	for _, order := range []string{"a c nosuch", "nosuch a c", "a nosuch c", "a c/nosuch"} {
		if got := berth("", append([]string{"delete"}, strings.Fields(order)...)...); got.code != 1 || !strings.Contains(got.err, "nosuch") {
			t.Errorf("%s: %+v", order, got)
		}
		if asked := f.asked("DELETE "); len(asked) > 0 {
			t.Errorf("%s: %q", order, asked)
		}
	}
	for _, order := range []string{"bad a", "a bad"} {
		if got := berth("", append([]string{"delete"}, strings.Fields(order)...)...); got.code != 1 || got.err != "Error: it is out of order\n" {
			t.Errorf("%s: %+v", order, got)
		}
	}
	if got := berth("", "delete", "a", "c"); got.code != 0 || len(f.asked("DELETE /1.0/instances/c")) != 1 {
		t.Errorf("%+v", got)
	}
}

// Of commands that stop at the first failure each says it, wherever it is among the arguments.
func TestAFailureAmongSeveralIsTold(t *testing.T) {
	f := newFake(t)
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.gives("GET /1.0/images/good", api.Image{Fingerprint: "good"})
	f.answers["DELETE /1.0/images/good"] = ended
	f.answers["POST /1.0/images/good/refresh"] = ended
	f.answers["DELETE /1.0/instances/c1/files"] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
		if r.URL.Query().Get("path") == "/good" {
			give(w, nil)
			return
		}
		fail(w, 404, "not found")
	}
	f.answers["GET /1.0/instances/c1/files"] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
		if r.URL.Query().Get("path") != "/good" {
			fail(w, 404, "not found")
			return
		}
		w.Header().Set("X-LXD-type", "file")
		_, _ = w.Write([]byte("text"))
	}
	for _, command := range []string{
		"image delete good nosuch", "image delete nosuch good", "image refresh good nosuch", "image refresh nosuch good",
		"file delete c1/good c1/nosuch", "file delete c1/nosuch c1/good", "file pull c1/good c1/nosuch DIR/", "file pull c1/nosuch c1/good DIR/", "file pull c1/nosuch c1/good -", "file pull c1/good c1/nosuch -",
		"file push FILE nosuch-file c1/dir/", "file push nosuch-file FILE c1/dir/",
	} {
		words := strings.Fields(strings.NewReplacer("DIR", t.TempDir(), "FILE", file).Replace(command))
		if got := berth("", words...); got.code != 1 || !strings.Contains(got.err, "Error: ") {
			t.Errorf("%s: %+v", command, got)
		}
	}
	if got := berth("", "file", "delete", "c1/good", "c1/good"); got.code != 0 {
		t.Errorf("%+v", got)
	}
}

// A file that cannot be pushed leaves none of the folders that were made for it, and all that were there.
func TestAPushThatFailsTakesItsFoldersBack(t *testing.T) {
	f := newFake(t)
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{"/old": true}
	f.answers["GET /1.0/instances/c1/files"] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
		if !there[r.URL.Query().Get("path")] {
			fail(w, 404, "Not Found")
			return
		}
		w.Header().Set("X-LXD-type", "directory")
		give(w, []string{})
	}
	f.answers["POST /1.0/instances/c1/files"] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
		if r.Header.Get("X-LXD-type") != "directory" {
			fail(w, 400, "that owner is not mapped")
			return
		}
		there[r.URL.Query().Get("path")] = true
		give(w, nil)
	}
	f.answers["DELETE /1.0/instances/c1/files"] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
		path := r.URL.Query().Get("path")
		for other := range there {
			if strings.HasPrefix(other, path+"/") {
				fail(w, 400, "directory not empty")
				return
			}
		}
		delete(there, path)
		give(w, nil)
	}
	got := berth("", "file", "push", "-p", file, "c1/old/new/deep/f")
	if got.code != 1 || !strings.Contains(got.err, "that owner is not mapped") || len(there) != 1 || !there["/old"] {
		t.Errorf("%+v, there is %v", got, there)
	}
	if made := f.asked("POST"); len(made) != 3 {
		t.Errorf("%q", made)
	}
}
