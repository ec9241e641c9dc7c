package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/berthd/berth/internal/store"
)

type pet struct {
	Name string            `json:"name"`
	Tags map[string]string `json:"tags,omitempty"`
}

// newPets is a store over an engine with a table.
func newPets(t *testing.T, e store.Engine) (*store.Store, *store.Table[pet]) {
	t.Helper()
	s := store.New(e)
	pets := store.NewTable[pet](s, "pets")
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, pets
}

func testTables(t *testing.T, in in) {
	s, pets := newPets(t, in.e)
	mine := &pet{Name: "a", Tags: map[string]string{"k": "v"}}
	rev, err := s.Commit(t.Context(), pets.Create(mine, "home", "x/y"))
	if err != nil {
		t.Fatal(err)
	}
	mine.Tags["k"] = "changed after the commit"
	row, ok := pets.Get("home", "x/y")
	if !ok || row.Value.Tags["k"] != "v" || row.Revision != rev || row.Path[1] != "x/y" {
		t.Fatalf("row %+v %v", row, ok)
	}
	if _, err := s.Commit(t.Context(), pets.Create(mine, "home", "x/y")); !errors.Is(err, store.ErrConflict) {
		t.Errorf("second create: %v", err)
	}
	if _, err := s.Commit(t.Context(), pets.Replace(row, &pet{Name: "b"}), pets.Put(&pet{Name: "c"}, "home", "z")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), pets.Replace(row, &pet{Name: "late"})); !errors.Is(err, store.ErrConflict) {
		t.Errorf("replace of an old row: %v", err)
	}
	testTableGuards(t, s, pets)
	if rows := pets.List("home"); len(rows) != 2 || rows[0].Value.Name != "b" || rows[1].Value.Name != "c" {
		t.Errorf("rows %+v", rows)
	}
	if _, err := s.Commit(t.Context(), store.Op{Key: "/pets/bad", Value: []byte(`{"name":5}`)}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a value that no table could load: %v", err)
	}
	if _, err := s.Commit(t.Context(), pets.Remove("home", "z")); err != nil || pets.Len() != 1 {
		t.Errorf("after a removal: %d rows, %v", pets.Len(), err)
	}
}

// testTableGuards guards commits with rows that they do not write, and with revisions that a client has seen.
func testTableGuards(t *testing.T, s *store.Store, pets *store.Table[pet]) {
	t.Helper()
	row, _ := pets.Get("home", "x/y")
	keeper := func(v string) store.Op { return pets.Put(&pet{Name: v}, "keeper") }
	for name, ops := range map[string][]store.Op{
		"absent":     {pets.Absent("home", "x/y"), keeper("1")},
		"replace at": {pets.ReplaceAt(row.Revision-1, &pet{Name: "late"}, "home", "x/y"), keeper("1")},
		"remove at":  {pets.RemoveAt(row.Revision+1, "home", "x/y"), keeper("1")},
	} {
		if _, err := s.Commit(t.Context(), ops...); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Commit(t.Context(), pets.Unchanged(row), pets.Absent("nobody"), keeper("2")); err != nil {
		t.Error(err)
	}
	if _, err := s.Commit(t.Context(), pets.ReplaceAt(row.Revision, &pet{Name: "b"}, "home", "x/y")); err != nil {
		t.Error(err)
	}
	if _, err := s.Commit(t.Context(), pets.Unchanged(row), keeper("3")); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a row that was written since: %v", err)
	}
	got, ok := pets.Get("keeper")
	if !ok || got.Value.Name != "2" {
		t.Errorf("the keeper is %+v", got)
	}
	if _, err := s.Commit(t.Context(), pets.RemoveAt(got.Revision, "keeper")); err != nil {
		t.Error(err)
	}
}

// testVisible is of many writers, each of which finds what it wrote; and of a store that loads it all.
func testVisible(t *testing.T, in in) {
	s, pets := newPets(t, in.e)
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 10 {
				name := fmt.Sprintf("p%d-%d", w, i)
				rev, err := s.Commit(context.Background(), pets.Create(&pet{Name: name}, name))
				if err != nil {
					t.Error(err)
				}
				if row, ok := pets.Get(name); !ok || row.Value.Name != name || row.Revision != rev {
					t.Errorf("%s is not in the table when its commit returns: %+v", name, row)
				}
			}
		})
	}
	writers.Wait()
	if _, loaded := newPets(t, in.other); loaded.Len() != 80 || pets.Len() != 80 {
		t.Errorf("loaded %d, have %d", loaded.Len(), pets.Len())
	}
}
