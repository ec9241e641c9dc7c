package project

import (
	"errors"
	"slices"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/store"
)

// names is what names projects without being in them: one record, which somebody else changes as soon as ops of it were made, as often as
// busy says.
type names struct {
	t     *testing.T
	db    *store.Store
	table *store.Table[[]string]
	busy  int
}

func (n *names) RenameProject(old, renamed string) []store.Op {
	return n.replace(func(list []string) []string {
		if at := slices.Index(list, old); at >= 0 {
			list[at] = renamed
		}
		return list
	})
}

func (n *names) RemoveProject(name string) []store.Op {
	return n.replace(func(list []string) []string { return slices.DeleteFunc(list, func(s string) bool { return s == name }) })
}

func (n *names) replace(edit func([]string) []string) []store.Op {
	row, _ := n.table.Get("x")
	next := edit(slices.Clone(*row.Value))
	if n.busy > 0 {
		n.busy--
		if _, err := n.db.Commit(n.t.Context(), n.table.Put(row.Value, "x")); err != nil {
			n.t.Error(err)
		}
	}
	return []store.Op{n.table.Replace(row, &next)}
}

// TestWhatNamesAProjectFollowsIt, also where it is changed at that moment.
func TestWhatNamesAProjectFollowsIt(t *testing.T) {
	db := store.New(store.NewMemory())
	n := &names{t: t, db: db, table: store.NewTable[[]string](db, "names")}
	if err := db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Commit(t.Context(), n.table.Put(&[]string{"a", "b"}, "x")); err != nil {
		t.Fatal(err)
	}
	s := &Service{Deps: Deps{Store: db, Certificates: n}}
	n.busy = 3
	if err := s.commitNamed(t.Context(), nil, func(c CertificatesOf) []store.Op { return c.RenameProject("a", "z") }, nil); err != nil {
		t.Fatal(err)
	}
	if row, _ := n.table.Get("x"); !slices.Equal(*row.Value, []string{"z", "b"}) {
		t.Errorf("%q", *row.Value)
	}
	if err := s.commitNamed(t.Context(), nil, func(c CertificatesOf) []store.Op { return c.RemoveProject("b") }, nil); err != nil {
		t.Fatal(err)
	}
	if row, _ := n.table.Get("x"); !slices.Equal(*row.Value, []string{"z"}) {
		t.Errorf("%q", *row.Value)
	}
	n.busy = 1000
	if err := s.commitNamed(t.Context(), nil, func(c CertificatesOf) []store.Op { return c.RemoveProject("z") }, nil); !errors.Is(err, store.ErrConflict) {
		t.Errorf("one that never rests gives %v", err)
	}
}

// TestWhoeverNamesProjectsHoldsThem until that is kept.
func TestWhoeverNamesProjectsHoldsThem(t *testing.T) {
	w := newWorld(t)
	if err := w.Create(t.Context(), api.ProjectsPost{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.HoldAll(t.Context(), "name", []string{"a", "none"}); !api.IsNotFound(err) {
		t.Errorf("%v", err)
	}
	release, err := w.HoldAll(t.Context(), "name", []string{"a", api.ProjectDefault})
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- w.Delete(t.Context(), "a") }()
	if err := w.Check("a"); err != nil {
		t.Error("it went while it was held")
	}
	release()
	if err := <-gone; err != nil {
		t.Error(err)
	}
}
