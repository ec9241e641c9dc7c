package warning

import (
	"context"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/filter"
	"github.com/berthd/berth/internal/store"
)

func TestWarnings(t *testing.T) {
	ctx := context.Background()
	st := store.New(store.NewMemory())
	s := New(st, event.Nobody{})
	if err := st.Load(ctx); err != nil {
		t.Fatal(err)
	}
	for _, msg := range []string{"first", "second"} {
		if err := s.Upsert(ctx, "Net", High, msg, "default", "/1.0/networks/x"); err != nil {
			t.Fatal(err)
		}
	}
	s.ResolveAtStart(ctx, []Host{{"A", Low, "a"}, {"B", Low, "b"}})
	s.ResolveAtStart(ctx, []Host{{"A", Low, "a again"}})
	got := map[string]api.Warning{}
	for _, w := range s.List("", nil) {
		got[w.Type] = w
	}
	if w := got["Net"]; w.Count != 2 || w.LastMessage != "second" || w.Status != StatusNew || w.Location != "none" {
		t.Errorf("%+v", w)
	}
	if got["A"].Status != StatusNew || got["A"].Count != 2 || got["B"].Status != StatusResolved {
		t.Errorf("%+v", got)
	}
	if n := len(s.List("other", nil)); n != 2 {
		t.Errorf("%d warnings of another project", n)
	}
	f, err := filter.Parse("status eq resolved")
	if err != nil {
		t.Fatal(err)
	}
	if list := s.List("", f); len(list) != 1 || list[0].Type != "B" {
		t.Errorf("%+v", list)
	}

	ok := func(store.Revision) error { return nil }
	id := got["Net"].UUID
	for status, want := range map[string]int{"foo": 400, StatusResolved: 403} {
		if err := s.SetStatus(ctx, id, status, ok); api.StatusOf(err) != want {
			t.Errorf("%s: %v", status, err)
		}
	}
	if err := s.SetStatus(ctx, id, StatusAcknowledged, ok); err != nil {
		t.Fatal(err)
	}
	if err := s.Upsert(ctx, "Net", High, "third", "default", "/1.0/networks/x"); err != nil {
		t.Fatal(err)
	}
	if w, _, _ := s.Get(id); w.Status != StatusAcknowledged || w.Count != 3 {
		t.Errorf("an acknowledged warning came back: %+v", w)
	}
	if err := s.Resolve(ctx, "Net", "default", "/1.0/networks/x"); err != nil {
		t.Fatal(err)
	}
	if w, _, _ := s.Get(id); w.Status != StatusResolved {
		t.Errorf("%+v", w)
	}
	if err := s.Move(ctx, "default", "/1.0/networks/x", "/1.0/networks/y"); err != nil {
		t.Fatal(err)
	}
	if w, _, _ := s.Get(id); w.EntityURL != "/1.0/networks/y" {
		t.Errorf("moved: %+v", w)
	}
	if err := s.Upsert(ctx, "Other", Low, "x", "default", "/1.0/networks/z"); err != nil {
		t.Fatal(err)
	}
	before := len(s.List("", nil))
	for range 2 {
		if err := s.Forget(ctx, "default", "/1.0/networks/z"); err != nil {
			t.Fatal(err)
		}
	}
	if left := s.List("", nil); len(left) != before-1 {
		t.Errorf("of %d %d are left", before, len(left))
	}
	if err := s.Delete(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, id); !api.IsNotFound(err) {
		t.Errorf("%v", err)
	}
}
