// Package storetest is what every engine of a store must do.
package storetest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/internal/store"
)

// Engine is how the suite gets at an engine, and what it has to know of it.
type Engine struct {
	// Open gives two ways into one empty store: engines of two members, or one engine twice. The test closes both.
	Open func(t *testing.T) (one, other store.Engine)
	// Forget has the store forget how it came to what it is: what was committed before can be watched no more.
	Forget func(t *testing.T, e store.Engine)
	// Parallel is that each Open gives a store that has nothing to do with the others.
	Parallel bool
}

// in is what a test has: two ways into one empty store.
type in struct {
	Engine
	e, other store.Engine
}

// Run tests an engine.
func Run(t *testing.T, engine Engine) {
	for name, test := range map[string]func(*testing.T, in){
		"commits read back in key order":                testList,
		"a failed guard writes nothing":                 testGuards,
		"guards on keys that are not written":           testGuardsElsewhere,
		"revisions grow by commits, not by failures":    testRevisions,
		"what changes nothing has no revision":          testNothingWritten,
		"a commit that no engine takes":                 testInvalid,
		"commits have bounds":                           testLimits,
		"a change of many keys goes in steps":           testCommitAll,
		"guards decide between concurrent writers":      testCounter,
		"an ended context commits nothing":              testCancelled,
		"a closed engine says so":                       testClosed,
		"a watch sees every commit once, in order":      testWatch,
		"a watch begins where it is told":               testWatchAfter,
		"a watch from what is forgotten is refused":     testWatchTooOld,
		"a watch ends with its context":                 testWatchEnds,
		"a lease keeps its keys and then takes them":    testLeaseExpires,
		"a lease is kept alive":                         testLeaseRenewed,
		"a revoked lease takes its keys":                testLeaseRevoked,
		"a key leaves its lease":                        testLeaseLeft,
		"a session ends with its lease":                 testSession,
		"tables follow commits":                         testTables,
		"a commit shows in tables when it returns":      testVisible,
		"tables follow the commits of others":           testForeign,
		"nothing is lost between list and watch":        testHandOver,
		"tables are read again after a forgotten watch": testReload,
		"what cannot be decoded stops nothing":          testUndecodable,
	} {
		t.Run(name, func(t *testing.T) {
			if engine.Parallel {
				t.Parallel()
			}
			one, other := engine.Open(t)
			t.Cleanup(func() {
				_ = one.Close()
				_ = other.Close()
			})
			test(t, in{engine, one, other})
		})
	}
}

// Put is an op that writes a string, as JSON.
func Put(key, value string) store.Op { return store.Op{Key: key, Value: fmt.Appendf(nil, "%q", value)} }

// Check is an op that only demands that key is of revision rev.
func Check(key string, rev store.Revision) store.Op {
	return store.Op{Key: key, Check: true, Guard: &rev}
}

func del(key string) store.Op { return store.Op{Key: key, Delete: true} }

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
	entries, _, err := store.List(t.Context(), e, prefix)
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

// patience is how long anything may take that happens at all: a loaded machine, an election.
const patience = 30 * time.Second

// watching is a watch that runs.
type watching struct {
	events chan string // one a commit
	end    chan error
	cancel context.CancelFunc
}

func watch(t *testing.T, e store.Engine, prefix string, after store.Revision) *watching {
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{events: make(chan string, 1000), end: make(chan error, 1), cancel: cancel}
	go func() {
		w.end <- e.Watch(ctx, prefix, after, func(events []store.Event) { w.events <- describe(events) })
	}()
	return w
}

// now is the revision that the store has reached.
func now(t *testing.T, e store.Engine) store.Revision {
	t.Helper()
	_, rev, err := store.List(t.Context(), e, "/none")
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func (w *watching) next(t *testing.T) string {
	t.Helper()
	select {
	case events := <-w.events:
		return events
	case err := <-w.end:
		t.Fatalf("the watch ended: %v", err)
	case <-time.After(patience):
		t.Fatal("no event")
	}
	return ""
}

func (w *watching) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.end:
		return err
	case <-time.After(patience):
		t.Fatal("the watch does not end")
		return nil
	}
}
