package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/berthd/berth/internal/store"
)

// agree waits until a table shows what the engine has.
func agree(t *testing.T, e store.Engine, pets *store.Table[pet]) {
	t.Helper()
	var entries []store.Entry
	same := func() bool {
		var err error
		if entries, _, err = store.List(t.Context(), e, "/pets/"); err != nil {
			t.Fatal(err)
		}
		rows := pets.List()
		if len(rows) != len(entries) {
			return false
		}
		for n, row := range rows {
			if pets.Key(row.Path...) != entries[n].Key || row.Revision != entries[n].Revision {
				return false
			}
		}
		return true
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !same(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("the table has %d rows of %d: %+v", pets.Len(), len(entries), pets.List())
		}
	}
}

// testForeign has two stores change the same rows: each sees what the other does, and what it conflicted with.
func testForeign(t *testing.T, in in) {
	one, mine := newPets(t, in.e)
	two, theirs := newPets(t, in.other)
	var writers sync.WaitGroup
	for _, side := range []struct {
		s    *store.Store
		pets *store.Table[pet]
		name string
	}{{one, mine, "one"}, {two, theirs, "two"}} {
		writers.Go(func() {
			for done := 0; done < 20; {
				next := pet{Tags: map[string]string{}}
				op := side.pets.Create(&next, "shared")
				if row, ok := side.pets.Get("shared"); ok {
					for k, v := range row.Value.Tags {
						next.Tags[k] = v
					}
					op = side.pets.Replace(row, &next)
				}
				next.Tags[fmt.Sprint(side.name, done)] = "x"
				op.Value = side.pets.Put(&next, "shared").Value
				switch _, err := side.s.Commit(context.Background(), op); {
				case err == nil:
					done++
				case !errors.Is(err, store.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	agree(t, in.e, mine)
	agree(t, in.e, theirs)
	if row, ok := mine.Get("shared"); !ok || len(row.Value.Tags) != 40 {
		t.Errorf("of 40 changes by two there are left: %+v", row.Value)
	}
	must(t, in.other, del("/pets/shared"), store.Op{Key: "/pets/new", Value: []byte(`{"name":"n"}`)})
	agree(t, in.e, mine)
	if row, ok := mine.Get("new"); !ok || row.Value.Name != "n" {
		t.Errorf("what another wrote: %+v", row)
	}
}

// between is an engine on which something happens between the list and the watch.
type between struct {
	store.Engine
	once sync.Once
	f    func()
}

func (b *between) Scan(ctx context.Context, prefix string, each func(store.Entry) error) (store.Revision, error) {
	rev, err := b.Engine.Scan(ctx, prefix, each)
	b.once.Do(b.f)
	return rev, err
}

// testHandOver changes rows after a store has read them and before it watches: a few, and then more than is remembered.
func testHandOver(t *testing.T, in in) {
	must(t, in.e, store.Op{Key: "/pets/changed", Value: []byte(`{"name":"old"}`)}, store.Op{Key: "/pets/gone", Value: []byte(`{}`)})
	for name, forget := range map[string]bool{"few": false, "many": true} {
		t.Run(name, func(t *testing.T) {
			s := store.New(&between{Engine: in.other, f: func() {
				must(t, in.e, store.Op{Key: "/pets/changed", Value: []byte(`{"name":"new"}`)}, del("/pets/gone"),
					store.Op{Key: "/pets/" + name, Value: []byte(`{}`)})
				if forget {
					in.Forget(t, in.e)
				}
			}})
			pets := store.NewTable[pet](s, "pets")
			if err := s.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			agree(t, in.e, pets)
			if row, ok := pets.Get("changed"); !ok || row.Value.Name != "new" {
				t.Errorf("a change between list and watch is lost: %+v", row)
			}
		})
	}
}

var errCut = errors.New("the watch was cut off")

// cut is an engine whose watch a test can cut off, and hold back from beginning anew.
type cut struct {
	store.Engine
	mu   sync.Mutex // held while the watch is to stay cut off
	stop func()
}

func (c *cut) Watch(ctx context.Context, prefix string, after store.Revision, deliver func([]store.Event)) error {
	c.mu.Lock()
	one, stop := context.WithCancel(ctx)
	c.stop = stop
	c.mu.Unlock()
	defer stop()
	err := c.Engine.Watch(one, prefix, after, deliver)
	if ctx.Err() == nil && one.Err() != nil {
		return errCut
	}
	return err
}

// testReload cuts a store off, changes rows and lets the engine forget how: the store reads them again.
func testReload(t *testing.T, in in) {
	must(t, in.e, store.Op{Key: "/pets/same", Value: []byte(`{"name":"s"}`)}, store.Op{Key: "/pets/gone", Value: []byte(`{}`)})
	c := &cut{Engine: in.other}
	s, pets := newPets(t, c)
	if _, err := s.Commit(t.Context(), pets.Put(&pet{Name: "1"}, "changed")); err != nil { // by now it watches
		t.Fatal(err)
	}
	before, _ := pets.Get("same")
	changes := pets.Changes()
	for n, forget := range []bool{false, true} {
		c.mu.Lock()
		c.stop()
		must(t, in.e, store.Op{Key: "/pets/changed", Value: []byte(`{"name":"2"}`)}, del("/pets/gone"),
			store.Op{Key: fmt.Sprintf("/pets/new%d", n), Value: []byte(`{}`)})
		if forget {
			in.Forget(t, in.e)
		}
		c.mu.Unlock()
		agree(t, in.e, pets)
	}
	if _, err := s.Commit(t.Context(), pets.Put(&pet{Name: "3"}, "changed")); err != nil {
		t.Fatal(err)
	}
	if row, ok := pets.Get("changed"); !ok || row.Value.Name != "3" {
		t.Errorf("a commit after all that: %+v", row)
	}
	after, _ := pets.Get("same")
	if pets.Changes() == changes || after.Value != before.Value {
		t.Errorf("%d changes; what is as it was is the same value: %v", pets.Changes()-changes, after.Value == before.Value)
	}
}

// testUndecodable has another member write what this one does not understand.
func testUndecodable(t *testing.T, in in) {
	s, pets := newPets(t, in.e)
	if _, err := s.Commit(t.Context(), pets.Create(&pet{Name: "a"}, "a")); err != nil {
		t.Fatal(err)
	}
	must(t, in.other, store.Op{Key: "/pets/a", Value: []byte(`{"name":5}`)}, store.Op{Key: "/pets/%zz", Value: []byte(`{}`)},
		store.Op{Key: "/elsewhere/x", Value: []byte("no JSON")})
	if _, err := s.Commit(t.Context(), pets.Create(&pet{Name: "b"}, "b")); err != nil {
		t.Fatal(err)
	}
	row, ok := pets.Get("a")
	if !ok || row.Value.Name != "a" || pets.Len() != 2 {
		t.Errorf("%d rows, %+v", pets.Len(), row)
	}
	if _, err := s.Commit(t.Context(), pets.Replace(row, &pet{Name: "lost"})); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a change of what is not understood: %v", err)
	}
}
