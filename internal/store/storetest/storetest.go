// Package storetest is what every engine of a store must do.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berthd/berth/internal/store"
)

// Run tests an engine. open gives an empty one, which the test closes.
func Run(t *testing.T, open func(t *testing.T) store.Engine) {
	for name, test := range map[string]func(*testing.T, store.Engine){
		"commits read back in key order":             testList,
		"a failed guard writes nothing":              testGuards,
		"revisions grow by commits, not by failures": testRevisions,
		"a commit that no engine takes":              testInvalid,
		"guards on keys that are not written":        testGuardsElsewhere,
		"what changes nothing has no revision":       testNothingWritten,
		"values are copied":                          testCopies,
		"a watch sees every commit once, in order":   testWatch,
		"a watch begins where it is told":            testWatchAfter,
		"OnCommit comes in order and in time":        testOnCommit,
		"guards decide between concurrent writers":   testCounter,
		"an ended context commits nothing":           testCancelled,
		"a closed engine says so":                    testClosed,
		"tables follow commits":                      testTables,
	} {
		t.Run(name, func(t *testing.T) {
			e := open(t)
			t.Cleanup(func() { _ = e.Close() })
			test(t, e)
		})
	}
}

// Put is an op that writes a string, as JSON.
func Put(key, value string) store.Op { return store.Op{Key: key, Value: fmt.Appendf(nil, "%q", value)} }

// At returns op guarded by a revision.
func At(op store.Op, rev store.Revision) store.Op {
	op.Guard = &rev
	return op
}

func must(t *testing.T, e store.Engine, ops ...store.Op) store.Revision {
	t.Helper()
	rev, err := e.Commit(t.Context(), ops)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// at is how show and describe give what was written at rev.
func at(what string, rev store.Revision) string { return what + strconv.FormatUint(uint64(rev), 10) }

// show lists what is under prefix as "key=value@revision".
func show(t *testing.T, e store.Engine, prefix string) string {
	t.Helper()
	entries, _, err := e.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, entry := range entries {
		parts = append(parts, fmt.Sprintf("%s=%s@%d", entry.Key, strings.Trim(string(entry.Value), `"`), entry.Revision))
	}
	return strings.Join(parts, " ")
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func testList(t *testing.T, e store.Engine) {
	first := must(t, e, Put("/b/2", "x"), Put("/a/1", "y"))
	second := must(t, e, Put("/b/1", "z"), del("/a/1"), del("/never"))
	expect(t, "all", show(t, e, "/"), at("/b/1=z@", second)+" "+at("/b/2=x@", first))
	expect(t, "prefix", show(t, e, "/b/2"), at("/b/2=x@", first))
	expect(t, "none", show(t, e, "/c"), "")
}

func testGuards(t *testing.T, e store.Engine) {
	rev := must(t, e, At(Put("/a", "1"), 0))
	for name, op := range map[string]store.Op{
		"exists":        At(Put("/a", "2"), 0),
		"wrong":         At(Put("/a", "2"), rev+7),
		"gone":          At(Put("/b", "2"), rev),
		"delete, wrong": At(del("/a"), rev+1),
	} {
		if _, err := e.Commit(t.Context(), []store.Op{Put("/other", "x"), op}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		} else if !strings.Contains(err.Error(), op.Key) {
			t.Errorf("%s: error does not name the key: %v", name, err)
		}
	}
	expect(t, "after", show(t, e, "/"), at("/a=1@", rev))
	must(t, e, At(del("/a"), rev))
	must(t, e, At(Put("/a", "again"), 0))
}

func testRevisions(t *testing.T, e store.Engine) {
	first := must(t, e, Put("/a", "1"))
	_, _ = e.Commit(t.Context(), []store.Op{At(Put("/a", "2"), 99)})
	second := must(t, e, Put("/b", "1"))
	if first == 0 || second <= first {
		t.Errorf("revisions %d, %d", first, second)
	}
	if _, rev, err := e.List(t.Context(), "/none"); err != nil || rev != second {
		t.Errorf("list is at %d, %v", rev, err)
	}
}

func testCopies(t *testing.T, e store.Engine) {
	op := Put("/a", "keep")
	rev := must(t, e, op)
	copy(op.Value, "XXXXXX")
	expect(t, "value", show(t, e, "/"), at("/a=keep@", rev))
}

func describe(events []store.Event) string {
	var parts []string
	for _, e := range events {
		if e.Deleted {
			parts = append(parts, fmt.Sprintf("-%s@%d", e.Key, e.Revision))
		} else {
			parts = append(parts, fmt.Sprintf("+%s=%s@%d", e.Key, strings.Trim(string(e.Value), `"`), e.Revision))
		}
	}
	return strings.Join(parts, " ")
}

func next(t *testing.T, ch <-chan []store.Event) string {
	t.Helper()
	select {
	case events, ok := <-ch:
		if !ok {
			return "closed"
		}
		return describe(events)
	case <-time.After(10 * time.Second):
		t.Fatal("no event")
		return ""
	}
}

func testWatch(t *testing.T, e store.Engine) {
	ctx, cancel := context.WithCancel(t.Context())
	ch, err := e.Watch(ctx, "/a/", 0)
	if err != nil {
		t.Fatal(err)
	}
	first := must(t, e, Put("/a/1", "x"), Put("/b/1", "x"), Put("/a/2", "y"))
	must(t, e, Put("/b/1", "z"))
	last := must(t, e, del("/a/1"))
	expect(t, "first", next(t, ch), at("+/a/1=x@", first)+" "+at("+/a/2=y@", first))
	expect(t, "second", next(t, ch), at("-/a/1@", last))
	cancel()
	expect(t, "after the context", next(t, ch), "closed")

	ch, err = e.Watch(t.Context(), "/", last)
	if err != nil {
		t.Fatal(err)
	}
	rev := must(t, e, Put("/last", "x"))
	_ = e.Close()
	expect(t, "before the close", next(t, ch), at("+/last=x@", rev))
	expect(t, "after the close", next(t, ch), "closed")
}

func testWatchAfter(t *testing.T, e store.Engine) {
	var revs []store.Revision
	for i := range 5 {
		revs = append(revs, must(t, e, Put("/a", fmt.Sprint(i+1))))
	}
	ch, err := e.Watch(t.Context(), "/", revs[2])
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "4", next(t, ch), at("+/a=4@", revs[3]))
	expect(t, "5", next(t, ch), at("+/a=5@", revs[4]))
}

func testOnCommit(t *testing.T, e store.Engine) {
	var mu sync.Mutex
	var seen []store.Revision
	e.OnCommit(func(rev store.Revision, ops []store.Op) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, rev)
	})
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 20 {
				rev, err := e.Commit(context.Background(), []store.Op{Put(fmt.Sprintf("/%d/%d", w, i), "x")})
				mu.Lock()
				if err != nil || !slices.Contains(seen, rev) {
					t.Errorf("commit %d returned before its callback: %v", rev, err)
				}
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	if len(seen) != 160 || !slices.IsSorted(seen) {
		t.Errorf("%d callbacks, sorted: %v", len(seen), slices.IsSorted(seen))
	}
}

// testCounter has many writers count up one key with guards: no count may be lost.
func testCounter(t *testing.T, e store.Engine) {
	first := must(t, e, Put("/n", "0"))
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for done := 0; done < 10; {
				entries, _, err := e.List(context.Background(), "/n")
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				_, _ = fmt.Sscanf(string(entries[0].Value), "%q", new(string))
				_, _ = fmt.Sscanf(strings.Trim(string(entries[0].Value), `"`), "%d", &n)
				_, err = e.Commit(context.Background(), []store.Op{At(Put("/n", fmt.Sprint(n+1)), entries[0].Revision)})
				switch {
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
	if got := show(t, e, "/n"); !strings.HasPrefix(got, "/n=80@") {
		t.Errorf("counted from revision %d on: %s", first, got)
	}
}

func testCancelled(t *testing.T, e store.Engine) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Commit(ctx, []store.Op{Put("/a", "x")}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	expect(t, "after", show(t, e, "/"), "")
}

func testClosed(t *testing.T, e store.Engine) {
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Commit(t.Context(), []store.Op{Put("/a", "x")}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("commit: %v", err)
	}
	if _, err := e.Watch(t.Context(), "/", 0); !errors.Is(err, store.ErrClosed) {
		t.Errorf("watch: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}
