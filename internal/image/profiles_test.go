package image

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/profile"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// nobody are instances that use no profile.
type nobody struct{ profile.Instances }

func (nobody) CheckProfile(context.Context, string, map[string]string, map[string]device.Config) error {
	return nil
}

func (nobody) CheckProfileChange(string, map[string]string, map[string]string, map[string]device.Config, map[string]device.Config) error {
	return nil
}
func (nobody) ProfileUsers(string, string) []string { return nil }
func (nobody) HoldUsed(context.Context, string, string, map[string]device.Config) (func(), error) {
	return func() {}, nil
}
func (nobody) HoldUsers(context.Context, string, string, string) (func(), error) {
	return func() {}, nil
}
func (nobody) RenameProfile(string, string, string) ([]store.Op, func() []store.Op) {
	return nil, func() []store.Op { return nil }
}

// profiled is a service of images with one of profiles, of which there are pa and pb.
func profiled(t *testing.T, engine store.Engine) (*Service, *profile.Service, *journal.Journal) {
	t.Helper()
	st, locks := store.New(engine), &lock.Manager{}
	j := journal.New(st)
	profiles := profile.New(st, event.Nobody{}, locks, j, project.Single{})
	profiles.SetInstances(nobody{})
	s := New(Deps{Store: st, Journal: j, Locks: locks, Events: event.Nobody{}, Dir: t.TempDir(), HasProfile: func(_ context.Context, project, name string) bool {
		_, _, ok := profiles.Definition(project, name)
		return ok
	}})
	profiles.SetImages(s)
	if err := st.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	for _, name := range []string{"pa", "pb"} {
		if err := profiles.Create(t.Context(), "default", api.ProfilesPost{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	return s, profiles, j
}

// TestImagesFollowTheirProfiles: these are renamed and deleted with what images say of them, also where somebody changes an image meanwhile, and
// where a kill comes between the two.
func TestImagesFollowTheirProfiles(t *testing.T) {
	engine := &written{Memory: store.NewMemory()}
	s, profiles, j := profiled(t, engine)
	ctx := t.Context()
	r, err := importFile(t, s, unified(t), Request{Profiles: []string{"pb", "pa"}})
	if err != nil {
		t.Fatal(err)
	}
	names := func(want ...string) {
		t.Helper()
		img, _, err := s.Get(ctx, "default", r.Fingerprint)
		if err != nil || !slices.Equal(img.Profiles, want) {
			t.Errorf("the image has %v (%v), not %v", img.Profiles, err, want)
		}
	}
	engine.key, engine.call = "/images/default/"+r.Fingerprint, func() {
		if err := s.Update(ctx, "default", r.Fingerprint, property("mine"), anyRevision); err != nil {
			t.Error(err)
		}
	}
	if err := profiles.Rename(ctx, "default", "pa", "pc"); err != nil {
		t.Fatal(err)
	}
	names("pb", "pc")
	if img, _, _ := s.Get(ctx, "default", r.Fingerprint); img.Properties["mine"] != "1" || engine.call != nil {
		t.Errorf("what was changed meanwhile is lost: %v", img.Properties)
	}
	if err := profiles.Delete(ctx, "default", "pb"); err != nil {
		t.Fatal(err)
	}
	names("pc")
	if n := j.Pending(); n != 0 {
		t.Errorf("%d entries left in the journal", n)
	}
	// As a kill leaves a deletion.
	broken := *must2(s.images.Get("default", r.Fingerprint)).Value
	broken.Profiles = []string{"gone", "pc"}
	if _, err := s.Store.Commit(ctx, s.images.Put(&broken, "default", r.Fingerprint)); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Begin(ctx, "profile.delete", map[string]string{"project": "default", "name": "gone"}); err != nil {
		t.Fatal(err)
	}
	if err := j.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	names("pc")
	if err := profiles.Delete(ctx, "default", "pc"); err != nil {
		t.Fatal(err)
	}
	names()
}

func must2[T any](v T, ok bool) T {
	if !ok {
		panic("not found")
	}
	return v
}

// TestAProfileStaysWhileAnImageComesToNameIt: whoever writes the name holds the profile until it is written.
func TestAProfileStaysWhileAnImageComesToNameIt(t *testing.T) {
	engine := &written{Memory: store.NewMemory()}
	s, _, _ := profiled(t, engine)
	held := func(way string) func() {
		return func() {
			if mine, _ := s.Locks.Try(lock.Claim{Action: "delete"}, lock.Exclusive(lock.ForProfile("default", "pa"))); mine != nil {
				mine.Release()
				t.Errorf("%s: the profile could go before the image names it", way)
			}
		}
	}
	for n, way := range []string{"an import", "a change"} {
		data := unified(t, file{name: "rootfs/n", data: fmt.Sprint(n)})
		q := Request{Profiles: []string{"pa"}}
		if way == "a change" {
			q.Profiles = []string{"pb"}
		}
		engine.key, engine.call = "/images/default/"+(&shop{data: data}).fingerprint(), nil
		if way == "an import" {
			engine.call = held(way)
		}
		r, err := importFile(t, s, data, q)
		if err != nil {
			t.Fatal(err)
		}
		if way == "a change" {
			engine.call = held(way)
			if err := s.Update(t.Context(), "default", r.Fingerprint, func(p *api.ImagePut) error { p.Profiles = []string{"pa"}; return nil }, anyRevision); err != nil {
				t.Fatal(err)
			}
		}
		if engine.call != nil {
			t.Errorf("%s wrote nothing", way)
		}
	}
}
