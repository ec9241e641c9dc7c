package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/store"
)

type thing struct {
	Name string `json:"name"`
}

// daemon is a store with a journal and a table, as after a start.
func daemon(t *testing.T, e store.Engine) (*store.Store, *journal.Journal, *store.Table[thing]) {
	t.Helper()
	s := store.New(e)
	j := journal.New(s)
	things := store.NewTable[thing](s, "things")
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, j, things
}

func TestAFinishedChangeLeavesNoEntry(t *testing.T) {
	s, j, things := daemon(t, store.NewMemory())
	e, err := j.Begin(t.Context(), "create", thing{"a"})
	if err != nil {
		t.Fatal(err)
	}
	if j.Pending() != 1 {
		t.Errorf("%d pending", j.Pending())
	}
	if _, err := s.Commit(t.Context(), things.Create(&thing{"a"}, "a"), e.Done()); err != nil {
		t.Fatal(err)
	}
	if _, ok := things.Get("a"); !ok || j.Pending() != 0 {
		t.Errorf("result %v, %d pending", ok, j.Pending())
	}
}

func TestBeginIsOneCommitWithItsOps(t *testing.T) {
	s, j, things := daemon(t, store.NewMemory())
	if _, err := s.Commit(t.Context(), things.Create(&thing{"a"}, "a")); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Begin(t.Context(), "create", nil, things.Create(&thing{"a"}, "a")); !errors.Is(err, store.ErrConflict) {
		t.Errorf("begin over an object that exists: %v", err)
	}
	if j.Pending() != 0 {
		t.Error("an entry of a change that never began")
	}
}

// TestRecovery cuts off changes, starts anew, and expects handlers to run oldest first, and what fails or is not known to
// stay for the next start.
func TestRecovery(t *testing.T) {
	engine := store.NewMemory()
	_, before, _ := daemon(t, engine)
	for _, kind := range []string{"first", "fails", "unknown", "last"} {
		if _, err := before.Begin(t.Context(), kind, thing{kind}); err != nil {
			t.Fatal(err)
		}
	}
	broken := errors.New("not yet")
	for start, want := range []string{"first fails last", "fails", ""} {
		_, j, _ := daemon(t, engine)
		var ran []string
		handler := func(fail error) journal.Handler {
			return func(_ context.Context, data json.RawMessage) error {
				var v thing
				if err := json.Unmarshal(data, &v); err != nil {
					t.Error(err)
				}
				ran = append(ran, v.Name)
				return fail
			}
		}
		j.Handle("first", handler(nil))
		j.Handle("fails", handler(broken))
		j.Handle("last", handler(nil))
		if err := j.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(ran, " "); got != want {
			t.Errorf("start %d ran %q", start, got)
		}
		broken = nil
		if left := map[int]int{0: 2, 1: 1, 2: 1}[start]; j.Pending() != left {
			t.Errorf("start %d leaves %d", start, j.Pending())
		}
	}
}

// TestAnotherAttemptStandsForBoth: what an attempt left that could be neither finished nor undone must not be recovered later, when its
// object may be another one.
func TestAnotherAttemptStandsForBoth(t *testing.T) {
	s, j, _ := daemon(t, store.NewMemory())
	for _, name := range []string{"a", "b", "a"} {
		if _, err := j.Begin(t.Context(), "delete", thing{name}); err != nil {
			t.Fatal(err)
		}
	}
	last, err := j.Begin(t.Context(), "delete", thing{"a"})
	if err != nil {
		t.Fatal(err)
	}
	if j.Pending() != 2 {
		t.Errorf("%d pending, not those of a and b", j.Pending())
	}
	if _, err := s.Commit(t.Context(), last.Done()); err != nil {
		t.Fatal(err)
	}
	if j.Pending() != 1 {
		t.Errorf("%d pending, not that of b", j.Pending())
	}
}

// TestAnEntryThatCouldNotBeClosed goes with the next change, also if that is the same one once more.
func TestAnEntryThatCouldNotBeClosed(t *testing.T) {
	for _, again := range []string{"a", "b"} {
		testUnclosed(t, again)
	}
}

func testUnclosed(t *testing.T, again string) {
	_, j, _ := daemon(t, store.NewMemory())
	e, err := j.Begin(t.Context(), "create", thing{"a"})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Close(ended); err == nil {
		t.Fatal("closed with a context that has ended")
	}
	next, err := j.Begin(t.Context(), "create", thing{again})
	if err != nil {
		t.Fatal(err)
	}
	if j.Pending() != 1 {
		t.Errorf("%d pending, not that of %s alone", j.Pending(), again)
	}
	if err := next.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestEntriesOfOthersAreLeftAlone: what another member has begun is its own to end.
func TestEntriesOfOthersAreLeftAlone(t *testing.T) {
	engine := store.NewMemory()
	s, before, _ := daemon(t, engine)
	if _, err := before.Begin(t.Context(), "mine", thing{"a"}); err != nil {
		t.Fatal(err)
	}
	theirs := `{"kind":"theirs","member":"other","started":"2026-11-30T00:00:00Z","data":{}}`
	if _, err := s.Commit(t.Context(), store.Op{Key: "/journal/x", Value: []byte(theirs)}); err != nil {
		t.Fatal(err)
	}
	_, j, _ := daemon(t, engine)
	var ran []string
	for _, kind := range []string{"mine", "theirs"} {
		j.Handle(kind, func(context.Context, json.RawMessage) error { ran = append(ran, kind); return nil })
	}
	if err := j.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if strings.Join(ran, " ") != "mine" || j.Pending() != 1 {
		t.Errorf("ran %v, %d left", ran, j.Pending())
	}
	// Nor is it an earlier attempt at the same change here, such as an import of the same image.
	e, err := j.Begin(t.Context(), "theirs", struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	if j.Pending() != 2 {
		t.Errorf("%d pending, not that of the other member and our own", j.Pending())
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestAnEntryThatCouldNotBeClosedTwice waits for the change after the next one where that cannot begin either.
func TestAnEntryThatCouldNotBeClosedTwice(t *testing.T) {
	_, j, _ := daemon(t, store.NewMemory())
	e, err := j.Begin(t.Context(), "create", thing{"a"})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Close(ended); err == nil {
		t.Fatal("closed with a context that has ended")
	}
	if _, err := j.Begin(ended, "create", thing{"b"}); err == nil {
		t.Fatal("begun with a context that has ended")
	}
	next, err := j.Begin(t.Context(), "create", thing{"c"})
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Close(t.Context()); err != nil || j.Pending() != 0 {
		t.Errorf("%d pending, %v", j.Pending(), err)
	}
}
