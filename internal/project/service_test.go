package project

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// world is a service with profiles of which it knows no more than that each project has a default one, and with what is said to be in
// projects.
type world struct {
	*Service
	t        *testing.T
	profiles *store.Table[string]
	looked   func() // if set, called whenever somebody asks what is in a project
	mu       sync.Mutex
	in       map[string][]string
	holds    map[string]Contents
	events   []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := store.New(store.NewMemory())
	w := &world{t: t, in: map[string][]string{}, holds: map[string]Contents{}}
	w.Service = New(Deps{
		Store: db, Events: w, Locks: &lock.Manager{}, Profiles: func() ProfilesOf { return w }, Contents: w.contentsOf,
		Network: func(name string) (map[string]string, error) {
			if name != "net" {
				return nil, api.NotFound("Network not found")
			}
			return map[string]string{"ipv4.routes": "10.7.0.0/24, 10.0.0.0/16", "ipv6.routes": "fd42::/48"}, nil
		},
		Users: func(name string) []string {
			if w.looked != nil {
				w.looked()
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			urls := slices.Clone(w.in[name])
			if _, ok := w.profiles.Get(name, "default"); ok {
				urls = append(urls, URL(name, "profiles", "default"))
			}
			return urls
		},
	})
	w.profiles = store.NewTable[string](db, "profiles")
	if err := db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return w
}

func (w *world) Lifecycle(_ context.Context, project, action, source string, _ map[string]any) {
	w.events = append(w.events, project+" "+action+" "+source)
}

func (w *world) CreateDefault(project string) store.Op {
	text := "default"
	return w.profiles.Create(&text, project, "default")
}

func (w *world) RemoveDefault(project string) []store.Op {
	return []store.Op{w.profiles.Remove(project, "default")}
}

func (w *world) MoveDefault(project, name string) []store.Op {
	row, ok := w.profiles.Get(project, "default")
	if !ok {
		return nil
	}
	return []store.Op{w.profiles.RemoveAt(row.Revision, project, "default"), w.profiles.Create(row.Value, name, "default")}
}

func (w *world) do(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(name string, config map[string]string) {
	w.t.Helper()
	w.do(w.Create(w.t.Context(), api.ProjectsPost{Name: name, ProjectPut: api.ProjectPut{Config: config}}))
}

func (w *world) fails(err error, status int, text string) {
	w.t.Helper()
	if err == nil || api.StatusOf(err) != status || !strings.Contains(err.Error(), text) {
		w.t.Errorf("%v (%d), want %q with %d", err, api.StatusOf(err), text, status)
	}
}

func (w *world) run(task *operation.Task, err error) error {
	w.t.Helper()
	w.do(err)
	return task.Run(w.t.Context(), operation.NoProgress{})
}

func anyVersion(store.Revision) error { return nil }

func settings(pairs ...string) map[string]string {
	c := map[string]string{}
	for n := 0; n < len(pairs); n += 2 {
		c[pairs[n]] = pairs[n+1]
	}
	return c
}

func TestANewProjectHasWhatLXDGivesIt(t *testing.T) {
	w := newWorld(t)
	w.create("blue", settings("user.team", "a", "user.empty", ""))
	p, rev, err := w.Get("blue")
	w.do(err)
	want := settings("features.images", "true", "features.profiles", "true", "features.storage.volumes", "true", "user.team", "a")
	if rev == 0 || !reflect.DeepEqual(p.Config, want) || !slices.Equal(p.UsedBy, []string{"/1.0/profiles/default?project=blue"}) {
		t.Errorf("%d %+v", rev, p)
	}
	w.create("shares", settings("features.profiles", "false"))
	if p, _, err := w.Get("shares"); err != nil || len(p.UsedBy) != 0 || p.UsedBy == nil || p.Config["features.profiles"] != "false" {
		t.Errorf("%+v %v", p, err)
	}
	if names := w.Names(); !slices.Equal(names, []string{"blue", "default", "shares"}) {
		t.Errorf("names %q", names)
	}
	if !slices.Equal(w.events, []string{"blue project-created /1.0/projects/blue", "shares project-created /1.0/projects/shares"}) {
		t.Errorf("events %q", w.events)
	}
}

func TestTheDefaultProjectIsThereBeforeItsRecord(t *testing.T) {
	w := newWorld(t)
	for _, stored := range []bool{false, true} {
		if stored {
			w.do(w.EnsureDefault(t.Context()))
			w.do(w.EnsureDefault(t.Context()))
		}
		p, rev, err := w.Get("default")
		if err != nil || (rev != 0) != stored || len(p.Config) != len(kinds) || len(w.List(w.Names())) != 1 {
			t.Errorf("stored %v: %+v %d %v", stored, p, rev, err)
		}
	}
	w.fails(w.Delete(t.Context(), "default"), http.StatusForbidden, "cannot be deleted")
	_, err := w.Rename(t.Context(), "default", "x")
	w.fails(err, http.StatusForbidden, "cannot be renamed")
	for _, c := range []map[string]string{settings("features.images", "false"), settings("features.images", "")} {
		w.fails(w.Patch(t.Context(), "default", api.ProjectPut{Config: c}, false, anyVersion), http.StatusBadRequest, "You can't change the features of the default project")
	}
	// LXD refuses this, as the features are not named.
	w.do(w.Put(t.Context(), "default", api.ProjectPut{Config: settings("user.x", "y"), Description: "d"}, anyVersion))
	p, _, err := w.Get("default")
	if err != nil || p.Config["user.x"] != "y" || p.Config["features.networks"] != "true" || p.Description != "d" {
		t.Errorf("%+v %v", p, err)
	}
}

func TestNamesOfProjects(t *testing.T) {
	w := newWorld(t)
	for name, text := range map[string]string{
		"": "No name provided", "a/b": "slashes", "a b": "spaces", "a_b": "underscores", "it's": "quotes", `a"b`: "quotes", "*": "Reserved",
		".": "Invalid project name", "..": "Invalid project name", "a\nb": "Invalid project name", strings.Repeat("x", 128): "Invalid project name",
	} {
		w.fails(w.Create(t.Context(), api.ProjectsPost{Name: name}), http.StatusBadRequest, text)
	}
	w.create(strings.Repeat("x", 127), nil)
	w.create("grün-1.2", nil)
	w.fails(w.Create(t.Context(), api.ProjectsPost{Name: "grün-1.2"}), http.StatusConflict, "already exists")
	w.fails(w.Create(t.Context(), api.ProjectsPost{Name: "default"}), http.StatusConflict, "already exists")
	_, err := w.Rename(t.Context(), "grün-1.2", "a_b")
	w.fails(err, http.StatusBadRequest, "underscores")
	_, err = w.Rename(t.Context(), "nope", "a")
	w.fails(err, http.StatusNotFound, "Project not found")
	w.fails(w.Delete(t.Context(), "nope"), http.StatusNotFound, `Fetch project "nope": Project not found`)
	w.fails(w.run(w.Rename(t.Context(), "grün-1.2", "default")), http.StatusConflict, `A project named "default" already exists`)
}

func TestKeysOfProjects(t *testing.T) {
	w := newWorld(t)
	for key, value := range map[string]string{"foo": "x", "features.images": "maybe", "features.": "true", "images.": "x"} {
		err := w.Create(t.Context(), api.ProjectsPost{Name: "bad", ProjectPut: api.ProjectPut{Config: settings(key, value)}})
		w.fails(err, http.StatusBadRequest, `Invalid project configuration key "`+key+`"`)
	}
	if w.Check("bad") == nil {
		t.Error("it was made")
	}
}

// What is in a project keeps it, its name and its features; its default profile does not.
func TestOnlyEmptyProjectsGo(t *testing.T) {
	w := newWorld(t)
	w.create("blue", nil)
	w.in["blue"] = []string{"/1.0/instances/c1?project=blue"}
	w.fails(w.Delete(t.Context(), "blue"), http.StatusBadRequest, "Only empty projects can be removed")
	w.fails(w.run(w.Rename(t.Context(), "blue", "red")), http.StatusBadRequest, "Only empty projects can be renamed")
	w.fails(w.Patch(t.Context(), "blue", api.ProjectPut{Config: settings("features.images", "false")}, false, anyVersion), http.StatusBadRequest,
		`Project feature "features.images" cannot be disabled on non-empty projects`)
	w.fails(w.Patch(t.Context(), "blue", api.ProjectPut{Config: settings("features.networks", "true")}, false, anyVersion), http.StatusBadRequest,
		`Project feature "features.networks" cannot be enabled on non-empty projects`)
	w.do(w.Patch(t.Context(), "blue", api.ProjectPut{Config: settings("user.x", "y", "features.images", "yes")}, false, anyVersion)) // the same in other words
	w.in["blue"] = nil
	w.do(w.run(w.Rename(t.Context(), "blue", "red")))
	if _, gone := w.profiles.Get("blue", "default"); gone || w.Check("blue") == nil {
		t.Error("something is left of the old name")
	}
	if p, _, err := w.Get("red"); err != nil || p.Config["user.x"] != "y" || len(p.UsedBy) != 1 {
		t.Errorf("%+v %v", p, err)
	}
	w.do(w.Delete(t.Context(), "red"))
	if _, there := w.profiles.Get("red", "default"); there || w.Check("red") == nil {
		t.Error("something is left of the project")
	}
}

// A project that begins to share the profiles loses its own default one, and gets one when it has its own again.
func TestTheDefaultProfileFollowsTheFeature(t *testing.T) {
	w := newWorld(t)
	w.create("blue", nil)
	for _, own := range []string{"false", "true"} {
		w.do(w.Patch(t.Context(), "blue", api.ProjectPut{Config: settings("features.profiles", own)}, false, anyVersion))
		if _, there := w.profiles.Get("blue", "default"); there != (own == "true") {
			t.Errorf("features.profiles=%s: there is one: %v", own, there)
		}
	}
}

func TestAChangeOfAProject(t *testing.T) {
	w := newWorld(t)
	w.create("blue", settings("user.a", "1"))
	_, seen, err := w.Get("blue")
	w.do(err)
	match := func(rev store.Revision) error {
		if rev != seen {
			return api.PreconditionFailed("changed")
		}
		return nil
	}
	w.do(w.Patch(t.Context(), "blue", api.ProjectPut{Config: settings("user.a", "", "user.b", "2")}, false, match))
	p, _, _ := w.Get("blue")
	if p.Config["user.b"] != "2" || p.Config["features.images"] != "true" {
		t.Errorf("%v", p.Config)
	}
	if _, there := p.Config["user.a"]; there {
		t.Errorf("%v", p.Config)
	}
	w.fails(w.Put(t.Context(), "blue", api.ProjectPut{}, match), http.StatusPreconditionFailed, "changed")
	w.do(w.Patch(t.Context(), "blue", api.ProjectPut{Description: "new"}, true, anyVersion))
	w.do(w.Patch(t.Context(), "blue", api.ProjectPut{Description: "not said"}, false, anyVersion))
	if p, _, _ := w.Get("blue"); p.Description != "new" {
		t.Errorf("%q", p.Description)
	}
	w.fails(w.Put(t.Context(), "nope", api.ProjectPut{}, anyVersion), http.StatusNotFound, "Project not found")
}

func TestEffective(t *testing.T) {
	w := newWorld(t)
	w.create("own", settings("features.networks", "true"))
	w.create("shares", settings("features.images", "false", "features.profiles", "false", "features.storage.volumes", "false"))
	for _, kind := range kinds {
		if own, shares := w.Effective(kind, "own"), w.Effective(kind, "shares"); own != "own" || shares != "default" {
			t.Errorf("%s: %q %q", kind, own, shares)
		}
		for name, want := range map[string][]string{"default": {"default", "shares"}, "own": {"own"}, "shares": nil} {
			if got := w.Sharing(kind, name); !slices.Equal(got, want) {
				t.Errorf("%s in %s are those of %q, want %q", kind, name, got, want)
			}
		}
		for _, name := range []string{"", "default"} {
			if got := w.Effective(kind, name); got != "default" {
				t.Errorf("%s of %q: %q", kind, name, got)
			}
		}
		if got := w.Effective(kind, "absent"); got != "absent" { // never what is the default project's
			t.Errorf("%s of a project that there is not: %q", kind, got)
		}
	}
}

// What is being made in a project keeps it from going; what begins afterwards finds no project.
func TestAProjectThatIsHeldStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("blue", nil)
		_, release, err := w.Hold(t.Context(), "create", "blue")
		w.do(err)
		w.fails(w.Delete(t.Context(), "blue"), http.StatusConflict, `Project "blue" is busy running a "create" operation`)
		w.in["blue"] = []string{"/1.0/instances/c1?project=blue"}
		release()
		w.fails(w.Delete(t.Context(), "blue"), http.StatusBadRequest, "Only empty projects")
		w.in["blue"] = nil
		w.do(w.Delete(t.Context(), "blue"))
		_, _, err = w.Hold(t.Context(), "create", "blue")
		w.fails(err, http.StatusNotFound, "Project not found")
	})
}

func TestURL(t *testing.T) {
	for want, got := range map[string]string{
		"/1.0/instances/c1":                          URL("default", "instances", "c1"),
		"/1.0/projects/a":                            URL("", "projects", "a"),
		"/1.0/instances/c1/snapshots/s%2F?project=a": URL("a", "instances", "c1", "snapshots", "s/"),
		"/1.0/profiles/p?project=gr%C3%BCn%26x":      URL("grün&x", "profiles", "p"),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
