package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berthd/berth/internal/store"
)

// Load is writers at work while something fails. Each has two keys of its own, which it counts up in one commit, guarded by
// what it knows of the first; what came of each commit it notes, so that Check can tell what was lost, and what came twice.
type Load struct {
	engines []store.Engine
	writers []*writer
	stop    context.CancelFunc
	all     sync.WaitGroup
	made    atomic.Int64
	unknown atomic.Int64
	failed  atomic.Int64
}

type writer struct {
	name  string
	count int            // up to where it knows that it got
	rev   store.Revision // of its first key
	wrong string
}

// StartLoad starts n writers over engines, in turn; name tells them from those of another Load.
func StartLoad(ctx context.Context, name string, engines []store.Engine, n int) *Load {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &Load{engines: engines, stop: stop}
	for i := range n {
		w := &writer{name: fmt.Sprint(name, i)}
		l.writers = append(l.writers, w)
		l.all.Go(func() { l.write(ctx, w, engines[i%len(engines)]) })
	}
	return l
}

func (w *writer) keys() (first, second string) {
	return "/load/" + w.name + "/a", "/load/" + w.name + "/b"
}

func (l *Load) write(ctx context.Context, w *writer, e store.Engine) {
	first, second := w.keys()
	for ctx.Err() == nil && w.wrong == "" {
		next := fmt.Sprint(w.count + 1)
		rev, err := e.Commit(context.WithoutCancel(ctx), []store.Op{Put(first, next).At(w.rev), Put(second, next)})
		switch {
		case err == nil:
			w.count, w.rev = w.count+1, rev
			l.made.Add(1)
			continue
		case errors.Is(err, store.ErrUnknownOutcome):
			l.unknown.Add(1)
		default:
			l.failed.Add(1)
		}
		l.look(ctx, w, e, errors.Is(err, store.ErrUnknownOutcome) || errors.Is(err, store.ErrConflict))
	}
}

// look finds out what came of a commit that failed; may is that it may have been made.
func (l *Load) look(ctx context.Context, w *writer, e store.Engine, may bool) {
	first, _ := w.keys()
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for ctx.Err() == nil {
		if entries, _, err := store.List(ctx, e, first); err == nil {
			count, rev := 0, store.Revision(0)
			if len(entries) > 0 {
				count, rev = number(entries[0].Value), entries[0].Revision
			}
			if count != w.count && !(may && count == w.count+1) {
				w.wrong = fmt.Sprintf("it is at %d, after %d was made; %d may have been: %v", count, w.count, w.count+1, may)
			}
			w.count, w.rev = count, rev
			return
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

func number(value []byte) (n int) {
	_, _ = fmt.Sscanf(strings.Trim(string(value), `"`), "%d", &n)
	return n
}

// Await waits until n more commits have been made.
func (l *Load) Await(t *testing.T, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	from := l.made.Load()
	for deadline := time.Now().Add(2 * patience); l.made.Load() < from+int64(n); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d commits were made (%s)", l.made.Load()-from, n, l)
		}
	}
}

// AwaitFailure waits until a commit has failed, in whatever way.
func (l *Load) AwaitFailure(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * patience); l.failed.Load()+l.unknown.Load() == 0; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("no commit failed (%s)", l)
		}
	}
}

func (l *Load) String() string {
	return fmt.Sprintf("%d made, %d unknown, %d failed", l.made.Load(), l.unknown.Load(), l.failed.Load())
}

// Stop ends the writers, when each has had its answer.
func (l *Load) Stop() {
	l.stop()
	l.all.Wait()
}

// Check is called after Stop: what a writer was told is made must be there, once, and nothing by halves. What was cut off at
// the end may be there too.
func (l *Load) Check(t *testing.T, e store.Engine) {
	t.Helper()
	for _, w := range l.writers {
		if w.wrong != "" {
			t.Errorf("writer %s: %s", w.name, w.wrong)
		}
	}
	CheckCounts(t, e, l.Counts())
}

// Counts says, by writer, of how many commits each was told. It is called after Stop.
func (l *Load) Counts() map[string]int {
	counts := map[string]int{}
	for _, w := range l.writers {
		counts[w.name] = w.count
	}
	return counts
}

// CheckCounts is Check for a Load that ran in another process.
func CheckCounts(t *testing.T, e store.Engine, counts map[string]int) {
	t.Helper()
	for name, count := range counts {
		first, second := (&writer{name: name}).keys()
		a, b := counted(t, e, first), counted(t, e, second)
		if a != b || a != count && a != count+1 {
			t.Errorf("writer %s was told of %d commits; there are %d and %d", name, count, a, b)
		}
	}
}

func counted(t *testing.T, e store.Engine, key string) int {
	t.Helper()
	entries, _, err := store.List(t.Context(), e, key)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) == 0 {
		return 0
	}
	return number(entries[0].Value)
}

// Follower is a store whose table follows what Load writes.
type Follower struct {
	engine store.Engine
	store  *store.Store
	table  *store.Table[string]
}

// Follow loads a store over an engine.
func Follow(t *testing.T, e store.Engine) *Follower {
	t.Helper()
	s := store.New(e)
	f := &Follower{e, s, store.NewTable[string](s, "load")}
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return f
}

// Commit makes a commit of its own, and expects the table to show it.
func (f *Follower) Commit(t *testing.T) {
	t.Helper()
	word := "x"
	rev, err := f.store.Commit(t.Context(), f.table.Put(&word, "follower"))
	if err != nil {
		t.Fatal(err)
	}
	if row, ok := f.table.Get("follower"); !ok || row.Revision != rev {
		t.Errorf("after commit %d the table has %+v", rev, row)
	}
}

// Check makes a commit once nobody else does, and expects the table to be what the engine has.
func (f *Follower) Check(t *testing.T) {
	t.Helper()
	f.Commit(t)
	entries, _, err := store.List(t.Context(), f.engine, "/load/")
	if err != nil {
		t.Fatal(err)
	}
	rows := f.table.List()
	if len(rows) != len(entries) {
		t.Fatalf("the table has %d rows of %d", len(rows), len(entries))
	}
	for n, row := range rows {
		if f.table.Key(row.Path...) != entries[n].Key || row.Revision != entries[n].Revision {
			t.Errorf("row %v is of revision %d, %s of %d", row.Path, row.Revision, entries[n].Key, entries[n].Revision)
		}
	}
}
