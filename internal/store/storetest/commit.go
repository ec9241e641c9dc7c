package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/berthd/berth/internal/store"
)

func testList(t *testing.T, in in) {
	e := in.e
	first := must(t, e, Put("/b/2", "x"), Put("/a/1", "y"))
	second := must(t, e, Put("/b/1", "z"), del("/a/1"), del("/never"))
	expect(t, "all", show(t, e, "/"), at("/b/1=z@", second)+" "+at("/b/2=x@", first))
	expect(t, "prefix", show(t, e, "/b/2"), at("/b/2=x@", first))
	expect(t, "none", show(t, e, "/c"), "")
	expect(t, "from elsewhere", show(t, in.other, "/b/2"), at("/b/2=x@", first))
	stop := errors.New("enough")
	if _, err := e.Scan(t.Context(), "/", func(store.Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a scan that is stopped: %v", err)
	}
}

func testGuards(t *testing.T, in in) {
	e := in.e
	rev := must(t, e, Put("/a", "1").At(0))
	for name, op := range map[string]store.Op{
		"exists":        Put("/a", "2").At(0),
		"wrong":         Put("/a", "2").At(rev + 7),
		"gone":          Put("/b", "2").At(rev),
		"delete, wrong": del("/a").At(rev + 1),
	} {
		if _, err := in.other.Commit(t.Context(), []store.Op{Put("/other", "x"), op}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		} else if !strings.Contains(err.Error(), op.Key) {
			t.Errorf("%s: error does not name the key: %v", name, err)
		}
	}
	expect(t, "after", show(t, e, "/"), at("/a=1@", rev))
	must(t, e, del("/a").At(rev))
	must(t, e, Put("/a", "again").At(0))
}

// testGuardsElsewhere is of guards on keys that the commit does not write.
func testGuardsElsewhere(t *testing.T, in in) {
	e := in.e
	first := must(t, e, Put("/pool", "1"))
	rev := must(t, e, Check("/pool", first), Check("/none", 0), Put("/volume", "x"))
	whole := at("/pool=1@", first) + " " + at("/volume=x@", rev)
	expect(t, "passed", show(t, e, "/"), whole)
	for name, check := range map[string]store.Op{
		"wrong":     Check("/pool", rev),
		"not there": Check("/none", first),
		"is there":  Check("/pool", 0),
	} {
		if _, err := e.Commit(t.Context(), []store.Op{Put("/volume", "y"), check}); !errors.Is(err, store.ErrConflict) || !strings.Contains(err.Error(), check.Key) {
			t.Errorf("%s: %v", name, err)
		}
	}
	expect(t, "refused", show(t, e, "/"), whole)
}

func testRevisions(t *testing.T, in in) {
	e := in.e
	first := must(t, e, Put("/a", "1"))
	_, _ = e.Commit(t.Context(), []store.Op{Put("/a", "2").At(first + 99)})
	second := must(t, e, Put("/b", "1"))
	if first == 0 || second <= first {
		t.Errorf("revisions %d, %d", first, second)
	}
	if _, rev, err := store.List(t.Context(), e, "/none"); err != nil || rev != second {
		t.Errorf("list is at %d, %v", rev, err)
	}
}

// testNothingWritten is of commits that change nothing.
func testNothingWritten(t *testing.T, in in) {
	e := in.e
	first := must(t, e, Put("/a", "1"))
	w := watch(t, e, "/", first)
	if rev := must(t, e, Check("/a", first)); rev != first {
		t.Errorf("a check alone is at %d, not %d", rev, first)
	}
	if rev := must(t, e, del("/none"), Check("/a", first)); rev != first {
		t.Errorf("a delete of nothing is at %d, not %d", rev, first)
	}
	if rev := must(t, e); rev != first {
		t.Errorf("an empty commit is at %d, not %d", rev, first)
	}
	last := must(t, e, Put("/b", "1"), del("/none"))
	expect(t, "what a watch sees", w.next(t), at("+/b=1@", last))
}

// testInvalid is of commits that no engine takes.
func testInvalid(t *testing.T, in in) {
	rev := store.Revision(0)
	for name, ops := range map[string][]store.Op{
		"no key":             {Put("/ok", "x"), Put("", "x")},
		"no slash":           {Put("/ok", "x"), Put("a", "x")},
		"key too long":       {Put("/"+strings.Repeat("k", store.MaxKeyBytes), "x")},
		"check of nothing":   {Put("/ok", "x"), {Key: "/a", Check: true}},
		"check and delete":   {{Key: "/a", Check: true, Guard: &rev, Delete: true}},
		"check and a value":  {{Key: "/a", Check: true, Guard: &rev, Value: []byte("1")}},
		"delete and a lease": {Put("/ok", "x"), del("/a").Under(1)},
	} {
		if _, err := in.e.Commit(t.Context(), ops); err == nil || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrUnknownOutcome) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := []store.Op{Put("/twice", "1")}
	for _, name := range strings.Split("abcdefghijklmnop", "") {
		many = append(many, Put("/"+name, "x"))
	}
	for name, ops := range map[string][]store.Op{
		"two puts":          {Put("/twice", "1"), Put("/twice", "2")},
		"put and delete":    {Put("/twice", "1"), del("/twice")},
		"put and check":     {Check("/twice", 0), Put("/twice", "1")},
		"after many others": append(many, del("/twice")),
	} {
		if _, err := in.e.Commit(t.Context(), ops); !errors.Is(err, store.ErrDuplicateKey) || !strings.Contains(err.Error(), "/twice") {
			t.Errorf("%s: %v", name, err)
		}
	}
	expect(t, "after", show(t, in.e, "/"), "")
}

// puts are n ops that write size bytes in all.
func puts(n, size int) (ops []store.Op) {
	for i := range n {
		op := Put(fmt.Sprintf("/many/%04d", i), "")
		op.Value = fmt.Appendf(nil, "%q", strings.Repeat("x", max(0, size/n-op.Size())))
		ops = append(ops, op)
	}
	return ops
}

func testLimits(t *testing.T, in in) {
	large := map[string][]store.Op{
		"too many keys":  puts(store.MaxOps+1, 0),
		"too many bytes": puts(3, store.MaxBytes+10),
		"a large value":  puts(1, store.MaxBytes+10),
	}
	for name, ops := range large {
		_, err := in.e.Commit(t.Context(), ops)
		if !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	expect(t, "after", show(t, in.e, "/"), "")
	must(t, in.e, puts(store.MaxOps, store.MaxBytes)...)
	if entries, _, err := store.List(t.Context(), in.e, "/many/"); err != nil || len(entries) < store.MaxOps {
		t.Errorf("%d keys, %v", len(entries), err)
	}
}

// testCommitAll changes more than a commit may hold.
func testCommitAll(t *testing.T, in in) {
	s := store.New(in.e)
	w := watch(t, in.e, "/", now(t, in.e))
	for _, ops := range [][]store.Op{
		puts(3*store.MaxOps+5, 0), puts(store.MaxOps, 0), puts(40, 3*store.MaxBytes), puts(store.MaxOps-1, 0), nil,
	} {
		if _, err := s.CommitAll(t.Context(), ops, Put("/done", fmt.Sprint(len(ops)))); err != nil {
			t.Fatal(err)
		}
		seen, done := 0, false
		for !done {
			events := w.next(t)
			seen += strings.Count(events, "+/many/")
			if done = strings.Contains(events, "+/done="); done && seen != len(ops) {
				t.Errorf("of %d ops %d were there at the end", len(ops), seen)
			}
		}
	}
	one := puts(1, store.MaxBytes+10)
	if _, err := s.CommitAll(t.Context(), one, Put("/done", "never")); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("a value that no commit takes: %v", err)
	}
}

// testCounter has many writers count up one key with guards: no count may be lost.
func testCounter(t *testing.T, in in) {
	must(t, in.e, Put("/n", "0"))
	var writers sync.WaitGroup
	for w := range 8 {
		e := in.e
		if w%2 == 1 {
			e = in.other
		}
		writers.Go(func() {
			for done := 0; done < 10; {
				entries, _, err := store.List(context.Background(), e, "/n")
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				_, _ = fmt.Sscanf(strings.Trim(string(entries[0].Value), `"`), "%d", &n)
				_, err = e.Commit(context.Background(), []store.Op{Put("/n", fmt.Sprint(n+1)).At(entries[0].Revision)})
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
	if got := show(t, in.e, "/n"); !strings.HasPrefix(got, "/n=80@") {
		t.Errorf("the count is %s", got)
	}
}

func testCancelled(t *testing.T, in in) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := in.e.Commit(ctx, []store.Op{Put("/a", "x")}); !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnknownOutcome) {
		t.Error(err)
	}
	if _, err := in.e.Scan(ctx, "/", func(store.Entry) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	expect(t, "after", show(t, in.e, "/"), "")
}

func testClosed(t *testing.T, in in) {
	w := watch(t, in.e, "/", now(t, in.e))
	must(t, in.e, Put("/a", "x"))
	w.next(t)
	if err := in.e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.ended(t); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a watch: %v", err)
	}
	if _, err := in.e.Commit(t.Context(), []store.Op{Put("/a", "x")}); !errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrUnknownOutcome) {
		t.Errorf("commit: %v", err)
	}
	if err := in.e.Watch(t.Context(), "/", 0, func([]store.Event) {}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("watch: %v", err)
	}
	if _, err := in.e.Grant(t.Context(), patience); !errors.Is(err, store.ErrClosed) {
		t.Errorf("grant: %v", err)
	}
	if err := in.e.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}
