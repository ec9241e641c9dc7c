package storetest

import (
	"errors"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/store"
)

// Check is an op that only demands that key is of revision rev.
func Check(key string, rev store.Revision) store.Op {
	return store.Op{Key: key, Check: true, Guard: &rev}
}

func del(key string) store.Op { return store.Op{Key: key, Delete: true} }

// testGuardsElsewhere is of guards on keys that the commit does not write.
func testGuardsElsewhere(t *testing.T, e store.Engine) {
	first := must(t, e, Put("/pool", "1"))
	rev := must(t, e, Check("/pool", first), Check("/none", 0), Put("/volume", "x"))
	expect(t, "passed", show(t, e, "/"), at("/pool=1@", first)+" "+at("/volume=x@", rev))
	for name, check := range map[string]store.Op{
		"wrong":     Check("/pool", rev),
		"not there": Check("/none", first),
		"is there":  Check("/pool", 0),
	} {
		if _, err := e.Commit(t.Context(), []store.Op{Put("/volume", "y"), check}); !errors.Is(err, store.ErrConflict) || !strings.Contains(err.Error(), check.Key) {
			t.Errorf("%s: %v", name, err)
		}
	}
	expect(t, "refused", show(t, e, "/"), at("/pool=1@", first)+" "+at("/volume=x@", rev))
}

// testNothingWritten is of commits that change nothing: they come before or after all others, and nobody is told.
func testNothingWritten(t *testing.T, e store.Engine) {
	first := must(t, e, Put("/a", "1"))
	if rev := must(t, e, Check("/a", first)); rev != first {
		t.Errorf("a check alone is at %d, not %d", rev, first)
	}
	if rev := must(t, e, del("/none"), Check("/a", first)); rev < first {
		t.Errorf("a delete of nothing is at %d, before %d", rev, first)
	}
	if rev := must(t, e); rev < first {
		t.Errorf("an empty commit is at %d, before %d", rev, first)
	}
	expect(t, "after", show(t, e, "/"), at("/a=1@", first))
}

// testInvalid is of commits that no engine takes.
func testInvalid(t *testing.T, e store.Engine) {
	rev := store.Revision(0)
	for name, ops := range map[string][]store.Op{
		"no key":            {Put("/ok", "x"), Put("", "x")},
		"no slash":          {Put("/ok", "x"), Put("a", "x")},
		"key too long":      {Put("/"+strings.Repeat("k", store.MaxKeyBytes), "x")},
		"check of nothing":  {Put("/ok", "x"), {Key: "/a", Check: true}},
		"check and delete":  {{Key: "/a", Check: true, Guard: &rev, Delete: true}},
		"check and a value": {{Key: "/a", Check: true, Guard: &rev, Value: []byte("1")}},
	} {
		if _, err := e.Commit(t.Context(), ops); err == nil || errors.Is(err, store.ErrConflict) {
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
		if _, err := e.Commit(t.Context(), ops); !errors.Is(err, store.ErrDuplicateKey) || !strings.Contains(err.Error(), "/twice") {
			t.Errorf("%s: %v", name, err)
		}
	}
	expect(t, "after", show(t, e, "/"), "")
}
