package profile

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// fakeInstances uses profiles by name and notes what changes come.
type fakeInstances struct {
	users   map[string][]string
	changed []string
	refuse  error // of a change
	store   *store.Store
	many    int // ops that a rename takes
	// conflicts are how many renames have an op at the end that is refused.
	conflicts int
}

func (f *fakeInstances) CheckProfile(_ context.Context, _ string, c map[string]string, _ map[string]device.Config) error {
	if c["bad"] != "" {
		return api.BadRequest("Unknown configuration key: bad")
	}
	return nil
}

func (f *fakeInstances) CheckProfileChange(_ string, was, now map[string]string, _, _ map[string]device.Config) error {
	if now["idle"] != was["idle"] {
		return api.BadRequest("idle is not supported by this server")
	}
	return nil
}

func (f *fakeInstances) ChangeProfile(ctx context.Context, _, name string, _ map[string]string, _ map[string]device.Config, write store.Op) error {
	if f.refuse != nil {
		return f.refuse
	}
	f.changed = append(f.changed, name)
	_, err := f.store.Commit(ctx, write)
	return err
}

func (f *fakeInstances) HoldUsed(context.Context, string, string, map[string]device.Config) (func(), error) {
	return func() {}, nil
}

func (f *fakeInstances) HoldUsers(context.Context, string, string, string) (func(), error) {
	return func() {}, nil
}

func (f *fakeInstances) ProfileUsers(_, name string) []string { return slices.Clone(f.users[name]) }

func (f *fakeInstances) RenameProfile(_, old, name string) ([]store.Op, func() []store.Op) {
	rename := func(old, name string) []store.Op {
		f.users[name] = f.users[old]
		delete(f.users, old)
		ops := make([]store.Op, f.many)
		for n := range ops {
			ops[n] = store.Op{Key: fmt.Sprintf("/users/%d", n), Value: []byte(`"` + name + `"`)}
		}
		if f.conflicts > 0 {
			f.conflicts--
			ops = append(ops, store.Op{Key: "/users/other", Value: []byte("1")}.At(1))
		}
		return ops
	}
	return rename(old, name), func() []store.Op { return rename(name, old) }
}

type events []string

func (e *events) Lifecycle(_ context.Context, project, action, source string, _ map[string]any) {
	*e = append(*e, project+" "+action+" "+source)
}

func (f *fakeInstances) ProfileNeeds(string, string, map[string]string, map[string]device.Config) []project.Need {
	return nil
}

func newService(t *testing.T) (*Service, *fakeInstances, *events) {
	t.Helper()
	st := store.New(store.NewMemory())
	seen := &events{}
	s := New(st, seen, &lock.Manager{}, journal.New(st), project.Single{})
	f := &fakeInstances{users: map[string][]string{}, store: st}
	s.SetInstances(f)
	if err := st.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is one
		if err := s.EnsureDefault(t.Context(), "default"); err != nil {
			t.Fatal(err)
		}
	}
	return s, f, seen
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants checks the status and the beginning of an error.
func wants(t *testing.T, err error, status int, text string) {
	t.Helper()
	if err == nil || api.StatusOf(err) != status || !strings.HasPrefix(err.Error(), text) {
		t.Errorf("got %v (%d), want %q (%d)", err, api.StatusOf(err), text, status)
	}
}

func post(name string, config map[string]string) api.ProfilesPost {
	p := api.ProfilesPost{Name: name}
	p.Config = config
	return p
}

func TestAProfileLivesFromCreateToDelete(t *testing.T) {
	s, f, seen := newService(t)
	ctx := t.Context()
	req := post("p", map[string]string{"user.a": "1", "user.empty": ""})
	req.Description = "mine"
	req.Devices = map[string]map[string]string{"eth0": {"type": "nic"}, "none": nil}
	must(t, s.Create(ctx, "default", req))
	p, first, err := s.Get(ctx, "default", "p")
	must(t, err)
	want := &api.Profile{Name: "p"}
	want.Description, want.Config = "mine", map[string]string{"user.a": "1"}
	want.Devices = map[string]map[string]string{"eth0": {"type": "nic"}, "none": {}}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
	p.Config["user.a"], p.Devices["eth0"]["type"] = "changed", "changed"
	if c, d, ok := s.Definition("default", "p"); !ok || c["user.a"] != "1" || d["eth0"]["type"] != "nic" {
		t.Error("what is shown is the store's own")
	}

	put := api.ProfilePut{}
	put.Config = map[string]string{"user.a": "2", "user.b": "3"}
	must(t, s.Put(ctx, "default", "p", put, anyRevision))
	must(t, s.Patch(ctx, "default", "p", api.ProfilePut{Config: map[string]string{"user.a": ""}, Description: "not asked"}, false, anyRevision))
	p, second, err := s.Get(ctx, "default", "p")
	must(t, err)
	if diff := cmp.Diff(map[string]string{"user.b": "3"}, p.Config); diff != "" || p.Description != "" || len(p.Devices) != 0 {
		t.Errorf("%+v %s", p, diff)
	}
	if first == second {
		t.Error("two contents have one revision")
	}
	must(t, s.Patch(ctx, "default", "p", api.ProfilePut{Description: "asked"}, true, anyRevision))

	f.users["p"] = []string{"/1.0/instances/c1"}
	wants(t, s.Delete(ctx, "default", "p"), http.StatusBadRequest, "Profile is currently in use")
	must(t, s.Rename(ctx, "default", "p", "q"))
	if p, _, err = s.Get(ctx, "default", "q"); err != nil || !slices.Equal(p.UsedBy, []string{"/1.0/instances/c1"}) || p.Description != "asked" {
		t.Errorf("after the rename: %+v, %v", p, err)
	}
	f.users["q"] = nil
	must(t, s.Delete(ctx, "default", "q"))
	if got := s.Names("default"); !slices.Equal(got, []string{"default"}) {
		t.Errorf("left: %q", got)
	}
	if diff := cmp.Diff(events{
		"default profile-created /1.0/profiles/p", "default profile-updated /1.0/profiles/p", "default profile-updated /1.0/profiles/p",
		"default profile-updated /1.0/profiles/p", "default profile-renamed /1.0/profiles/q", "default profile-deleted /1.0/profiles/q",
	}, *seen); diff != "" {
		t.Error(diff)
	}
	if len(f.changed) != 3 {
		t.Errorf("instances were told of %q", f.changed)
	}
}

func TestProfilesRefuse(t *testing.T) {
	s, f, _ := newService(t)
	ctx := t.Context()
	must(t, s.Create(ctx, "default", post("p", nil)))
	for name, c := range map[string]struct {
		err    error
		status int
		text   string
	}{
		"no name":        {s.Create(ctx, "default", post("", nil)), 400, "No name provided"},
		"slash":          {s.Create(ctx, "default", post("a/b", nil)), 400, "Profile names may not contain slashes"},
		"dots":           {s.Create(ctx, "default", post("..", nil)), 400, "Invalid profile name"},
		"taken":          {s.Create(ctx, "default", post("p", nil)), 409, `Error inserting "p" into database: The profile already exists`},
		"bad key":        {s.Create(ctx, "default", post("x", map[string]string{"bad": "1"})), 400, "Unknown configuration key: bad"},
		"put bad":        {s.Put(ctx, "default", "p", api.ProfilePut{Config: map[string]string{"bad": "1"}}, anyRevision), 400, "Unknown configuration key: bad"},
		"put none":       {s.Put(ctx, "default", "nope", api.ProfilePut{}, anyRevision), 404, "Failed to retrieve profile"},
		"patch none":     {s.Patch(ctx, "default", "nope", api.ProfilePut{}, false, anyRevision), 404, "Failed to retrieve profile"},
		"rename default": {s.Rename(ctx, "default", "default", "x"), 403, `The "default" profile cannot be renamed`},
		"rename none":    {s.Rename(ctx, "default", "nope", "x"), 404, "Profile not found"},
		"rename to same": {s.Rename(ctx, "default", "p", "default"), 409, `Name "default" already in use`},
		"rename to bad":  {s.Rename(ctx, "default", "p", "a/b"), 400, "Profile names may not contain slashes"},
		"delete default": {s.Delete(ctx, "default", "default"), 403, `The "default" profile cannot be deleted`},
		"delete none":    {s.Delete(ctx, "default", "nope"), 404, "Profile not found"},
		"other project":  {s.Delete(ctx, "other", "p"), 404, "Profile not found"},
	} {
		t.Run(name, func(t *testing.T) { wants(t, c.err, c.status, c.text) })
	}
	// A change that some instance cannot follow is not kept.
	f.refuse = errors.New("no")
	if err := s.Put(ctx, "default", "p", api.ProfilePut{Config: map[string]string{"user.a": "1"}}, anyRevision); err == nil {
		t.Error("the change went through")
	}
	if p, _, err := s.Get(ctx, "default", "p"); err != nil || len(p.Config) != 0 {
		t.Errorf("kept: %+v, %v", p, err)
	}
	if got := s.Users(func(string) bool { return true }, func(d map[string]device.Config) bool { return len(d) == 0 }); len(got) != 2 {
		t.Errorf("users: %q", got)
	}
}

// anyRevision is the match of a client that has seen nothing.
func anyRevision(store.Revision) error { return nil }

// TestOneETagOneWinner has two clients change a profile that both have read.
func TestOneETagOneWinner(t *testing.T) {
	s, _, _ := newService(t)
	must(t, s.Create(t.Context(), "default", api.ProfilesPost{Name: "p"}))
	for range 40 {
		_, seen, err := s.Get(t.Context(), "default", "p")
		must(t, err)
		match := func(now store.Revision) error {
			if now != seen {
				return api.PreconditionFailed("ETag doesn't match")
			}
			return nil
		}
		results := make(chan error, 2)
		for _, value := range []string{"1", "2"} {
			go func() {
				results <- s.Put(t.Context(), "default", "p", api.ProfilePut{Config: map[string]string{"user.a": value}}, match)
			}()
		}
		first, second := <-results, <-results
		if first != nil {
			first, second = second, first
		}
		if first != nil || api.StatusOf(second) != http.StatusPreconditionFailed {
			t.Fatalf("got %v and %v, want one winner and one 412", first, second)
		}
	}
}

func TestTheDefaultProfileMovesWithItsProject(t *testing.T) {
	s, _, _ := newService(t)
	ctx := t.Context()
	must(t, s.EnsureDefault(ctx, "a"))
	must(t, s.Put(ctx, "a", "default", api.ProfilePut{Description: "mine", Config: map[string]string{"limits.memory": "1GiB"}}, anyRevision))
	_, err := s.store.Commit(ctx, s.MoveDefault("a", "b")...)
	must(t, err)
	if p, _, err := s.Get(ctx, "b", "default"); err != nil || p.Description != "mine" || p.Config["limits.memory"] != "1GiB" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, _, err := s.Get(ctx, "a", "default"); !api.IsNotFound(err) {
		t.Errorf("it is at its old place, too: %v", err)
	}
	if ops := s.MoveDefault("a", "b"); len(ops) != 0 {
		t.Errorf("what there is not is moved: %v", ops)
	}
}
