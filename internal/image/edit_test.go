package image

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/store"
)

// put is an edit that replaces everything.
func put[T any](next T) func(*T) error { return func(now *T) error { *now = next; return nil } }

func anyRevision(store.Revision) error { return nil }

// meeting is an engine at which two changes of one object meet that have both read it.
type meeting struct {
	*store.Memory
	prefix string
	both   *sync.WaitGroup
}

func (m *meeting) Commit(ctx context.Context, ops []store.Op) (store.Revision, error) {
	first, _ := ctx.Value(m).(*sync.Once)
	if first != nil && slices.ContainsFunc(ops, func(op store.Op) bool { return strings.HasPrefix(op.Key, m.prefix) }) {
		first.Do(func() { m.both.Done(); m.both.Wait() })
	}
	return m.Memory.Commit(ctx, ops)
}

// meet makes two changes at once.
func (m *meeting) meet(t *testing.T, prefix string, changes ...func(context.Context) error) (errs []error) {
	t.Helper()
	m.prefix, m.both = prefix, &sync.WaitGroup{}
	m.both.Add(len(changes))
	errs = make([]error, len(changes))
	var running sync.WaitGroup
	for n, change := range changes {
		running.Go(func() { errs[n] = change(context.WithValue(t.Context(), m, &sync.Once{})) })
	}
	running.Wait()
	return errs
}

func property(key string) func(*api.ImagePut) error {
	return func(p *api.ImagePut) error {
		return json.Unmarshal(fmt.Appendf(nil, `{"properties":{%q:"1"}}`, key), p)
	}
}

// TestTwoPatchesOfAnImageBothCount, and two of an alias, one of which may be a rename or a deletion; whoever names a version loses.
func TestTwoPatchesOfAnImageBothCount(t *testing.T) {
	engine := &meeting{Memory: store.NewMemory()}
	s, _ := newService(t, engine, t.TempDir())
	r, err := importFile(t, s, unified(t), Request{Aliases: []api.ImageAlias{{Name: "a"}, {Name: "b"}, {Name: "c"}}})
	if err != nil {
		t.Fatal(err)
	}
	patch := func(key string, match func(store.Revision) error) func(context.Context) error {
		return func(ctx context.Context) error { return s.Update(ctx, "default", r.Fingerprint, property(key), match) }
	}
	for _, err := range engine.meet(t, "/images/", patch("first", anyRevision), patch("second", anyRevision)) {
		if err != nil {
			t.Error(err)
		}
	}
	img, rev, _ := s.Get(t.Context(), "default", r.Fingerprint)
	if img.Properties["first"] != "1" || img.Properties["second"] != "1" || img.Properties["release"] == "" {
		t.Errorf("the properties are %v", img.Properties)
	}
	seen := func(now store.Revision) error {
		if now != rev {
			return api.PreconditionFailed("another version")
		}
		return nil
	}
	errs := engine.meet(t, "/images/", patch("third", seen), patch("fourth", seen))
	if (errs[0] == nil) == (errs[1] == nil) || api.StatusOf(cmp.Or(errs[0], errs[1])) != 412 {
		t.Errorf("of one version: %v", errs)
	}

	describe := func(name string) func(context.Context) error {
		return func(ctx context.Context) error {
			return s.UpdateAlias(ctx, "default", name, func(p *api.ImageAliasesEntryPut) error { p.Description += "+"; return nil }, anyRevision)
		}
	}
	for _, err := range engine.meet(t, "/image-aliases/", describe("a"), describe("a")) {
		if err != nil {
			t.Error(err)
		}
	}
	if a, _, _ := s.Alias(t.Context(), "default", "a", false); a == nil || a.Description != "++" {
		t.Errorf("the alias is %+v", a)
	}
	errs = engine.meet(t, "/image-aliases/", describe("b"), func(ctx context.Context) error { _, err := s.RenameAlias(ctx, "default", "b", "new"); return err })
	if a, _, _ := s.Alias(t.Context(), "default", "new", false); errs[1] != nil || a == nil || errs[0] != nil && !api.IsNotFound(errs[0]) {
		t.Errorf("renamed: %v, %+v", errs, a)
	}
	errs = engine.meet(t, "/image-aliases/", describe("c"), func(ctx context.Context) error { return s.DeleteAlias(ctx, "default", "c") })
	if _, _, gone := s.Alias(t.Context(), "default", "c", false); errs[1] != nil || !api.IsNotFound(gone) || errs[0] != nil && !api.IsNotFound(errs[0]) {
		t.Errorf("deleted: %v, %v", errs, gone)
	}
}

// TestAShortFingerprintTellsNothingOfPrivateImages: to whoever sees the public ones alone it means what it would if there were no others.
func TestAShortFingerprintTellsNothingOfPrivateImages(t *testing.T) {
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	byFirst := map[string]bool{}
	var public *Received
	for n := 0; public == nil; n++ { // of seventeen, two begin alike
		r, err := importFile(t, s, unified(t, file{name: "rootfs/n", data: fmt.Sprint(n)}), Request{})
		if err != nil {
			t.Fatal(err)
		}
		if byFirst[r.Fingerprint[:1]] {
			public = r
		}
		byFirst[r.Fingerprint[:1]] = true
	}
	ctx, short := t.Context(), public.Fingerprint[:1]
	if got, err := s.Visible(ctx, "default", short, ""); !api.IsNotFound(err) {
		t.Errorf("all are private: %q, %v", got, err)
	}
	if err := s.Update(ctx, "default", public.Fingerprint, func(p *api.ImagePut) error { p.Public = true; return nil }, anyRevision); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Visible(ctx, "default", short, ""); err != nil || got != public.Fingerprint {
		t.Errorf("one is public: %q, %v", got, err)
	}
	if _, _, err := s.Get(ctx, "default", short); api.StatusOf(err) != 400 {
		t.Errorf("whoever sees all: %v", err)
	}
}

// TestAnAliasIsWhatItsServerSays, not what somebody has given along with a fingerprint.
func TestAnAliasIsWhatItsServerSays(t *testing.T) {
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	far := &shop{data: unified(t, file{name: "rootfs/bad", data: "x"})}
	s.Remote = far
	src := api.InstanceSource{Server: "https://far", Alias: "good", Fingerprint: far.fingerprint()}
	bad, err := s.Resolve(t.Context(), "default", src)
	if err != nil || bad.UpdateSource != nil {
		t.Fatalf("%+v, %v", bad, err)
	}
	far.sell(unified(t))
	src.Fingerprint = ""
	good, err := s.Resolve(t.Context(), "default", src)
	if err != nil || good.Fingerprint != far.fingerprint() {
		t.Fatalf("the alias means %+v, %v", good, err)
	}
	far.sell(unified(t, file{name: "rootfs/other", data: "x"}))
	src.Fingerprint = far.fingerprint()
	if other, err := s.Resolve(t.Context(), "default", src); err != nil || other.Fingerprint != far.fingerprint() {
		t.Errorf("the fingerprint means %+v, %v", other, err)
	}
}
