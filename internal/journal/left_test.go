package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/store"
)

// about is a change of an object, and which attempt at it this is.
type about struct {
	Object string `json:"object"`
	N      int    `json:"n"`
}

// patient is a daemon whose changes of kind "change" fail to be recovered as long as fails says so.
type patient struct {
	*journal.Journal
	store *store.Store
	fails func(about) error
	mu    sync.Mutex
	ran   []about
	held  int
}

func newPatient(t *testing.T, e store.Engine) *patient {
	s, j, _ := daemon(t, e)
	p := &patient{Journal: j, store: s}
	j.Handle("change", func(_ context.Context, data json.RawMessage) error {
		var a about
		if err := json.Unmarshal(data, &a); err != nil {
			return err
		}
		p.mu.Lock()
		p.ran = append(p.ran, a)
		p.mu.Unlock()
		if p.fails == nil {
			return nil
		}
		return p.fails(a)
	})
	j.Guard("change", journal.Guard{
		Objects: func(data json.RawMessage) []string {
			var a about
			_ = json.Unmarshal(data, &a)
			return []string{a.Object}
		},
		Hold: func(context.Context, json.RawMessage) (func(), error) {
			p.hold(1)
			return func() { p.hold(-1) }, nil
		},
	})
	return p
}

func (p *patient) hold(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held += n
}

// tried are the attempts so far.
func (p *patient) tried() []about {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ran)
}

func (p *patient) begin(t *testing.T, a about) *journal.Entry {
	t.Helper()
	e, err := p.Begin(t.Context(), "change", a)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// retry makes attempts for a while, in the time of a synctest.
func (p *patient) retry(d time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Retry(ctx) }()
	time.Sleep(d)
	cancel()
	<-done
}

func none(string) bool { return false }

func away(about) error { return errors.New("the pool is away") }

// TestWhatCannotBeRecoveredKeepsItsObjectBack, until it is settled in the background, or for who needs the object.
func TestWhatCannotBeRecoveredKeepsItsObjectBack(t *testing.T) {
	for name, settle := range map[string]func(*patient){
		"in the background": func(p *patient) { p.retry(2 * time.Minute) },
		"when it is needed": func(p *patient) { p.Settle(context.Background(), "a", none) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := store.NewMemory()
				before := newPatient(t, engine)
				defer func() { _ = before.store.Close() }()
				before.begin(t, about{Object: "a"})
				if err := before.Unsettled("a", none); err != nil {
					t.Errorf("a change under way is taken for one that is left: %v", err)
				}
				p := newPatient(t, engine)
				defer func() { _ = p.store.Close() }()
				p.fails = away
				if err := p.Recover(t.Context()); err != nil {
					t.Fatal(err)
				}
				settle(p)
				err := p.Unsettled("a", none)
				if !api.IsUnavailable(err) || !strings.Contains(err.Error(), "(change)") || !strings.Contains(err.Error(), "the pool is away") {
					t.Errorf("its object is kept back with %v", err)
				}
				if err := p.Unsettled("b", none); err != nil {
					t.Errorf("another object is kept back: %v", err)
				}
				if err := p.Unsettled("a", func(kind string) bool { return kind == "change" }); err != nil {
					t.Errorf("what it does not matter to is kept back: %v", err)
				}
				tries := len(p.ran)
				p.Settle(t.Context(), "a", func(string) bool { return true })
				if len(p.ran) != tries {
					t.Error("an attempt for who does not need it")
				}
				p.fails = nil
				settle(p)
				if err := p.Unsettled("a", none); err != nil || p.Pending() != 0 || p.held != 0 {
					t.Errorf("once it can be recovered: %v, %d entries, held %d times", err, p.Pending(), p.held)
				}
				tries = len(p.ran)
				settle(p)
				if len(p.ran) != tries {
					t.Error("another attempt at what is settled")
				}
			})
		})
	}
}

// TestALaterChangeWaitsForAnEarlierOne of the same object, and not for one of another.
func TestALaterChangeWaitsForAnEarlierOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(t, store.NewMemory())
		defer func() { _ = p.store.Close() }()
		for n, object := range []string{"a", "a", "b"} {
			p.begin(t, about{object, n}).Leave(errors.New("undo failed"))
			time.Sleep(time.Second)
		}
		p.fails = func(a about) error {
			if a.N == 0 {
				return away(a)
			}
			return nil
		}
		p.retry(firstPause)
		if want := []about{{"a", 0}, {"b", 2}}; !slices.Equal(p.ran, want) {
			t.Errorf("ran %v, want %v", p.ran, want)
		}
		p.ran = nil
		p.Settle(t.Context(), "a", none)
		if want := []about{{"a", 0}}; !slices.Equal(p.ran, want) {
			t.Errorf("ran %v, want %v", p.ran, want)
		}
		p.fails = nil
		p.retry(firstPause)
		if p.Pending() != 0 {
			t.Errorf("%d entries are left", p.Pending())
		}
	})
}

// firstPause is as long as the first attempt in the background takes to come, and a little more.
const firstPause = 11 * time.Second

// TestOneThatHangsDoesNotHoldUpTheOthers: what a dead server never answers is left alone, and not tried twice at once.
func TestOneThatHangsDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(t, store.NewMemory())
		defer func() { _ = p.store.Close() }()
		hangs := make(chan struct{})
		p.fails = func(a about) error {
			if a.Object == "a" {
				<-hangs
			}
			return nil
		}
		for _, object := range []string{"a", "b"} {
			p.begin(t, about{Object: object}).Leave(errors.New("undo failed"))
			time.Sleep(time.Second)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var retrying sync.WaitGroup
		retrying.Go(func() { p.Retry(ctx) })
		time.Sleep(5 * time.Minute)
		if want := []about{{Object: "a"}, {Object: "b"}}; !slices.Equal(p.tried(), want) || p.Pending() != 1 {
			t.Errorf("ran %v, want %v; %d entries", p.tried(), want, p.Pending())
		}
		close(hangs)
		synctest.Wait()
		if err := p.Unsettled("a", none); err != nil || p.Pending() != 0 {
			t.Errorf("when it answers after all: %v, %d entries", err, p.Pending())
		}
		cancel()
		retrying.Wait()
	})
}

// TestAnotherAttemptTakesThePlaceOfWhatIsLeft, and with its end nothing is kept back.
func TestAnotherAttemptTakesThePlaceOfWhatIsLeft(t *testing.T) {
	p := newPatient(t, store.NewMemory())
	p.begin(t, about{Object: "a"}).Leave(errors.New("undo failed"))
	if err := p.Unsettled("a", none); !api.IsUnavailable(err) {
		t.Errorf("kept back with %v", err)
	}
	again := p.begin(t, about{Object: "a"})
	if err := p.Unsettled("a", none); err != nil {
		t.Errorf("kept back by what another attempt stands for: %v", err)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Settle(t.Context(), "a", none)
	if p.Pending() != 0 || len(p.ran) != 0 {
		t.Errorf("%d entries; ran %v", p.Pending(), p.ran)
	}
}

// TestWhyAnObjectIsKeptBack is the error of the last attempt: at first that of whoever left the change.
func TestWhyAnObjectIsKeptBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(t, store.NewMemory())
		defer func() { _ = p.store.Close() }()
		undo, stale := errors.New("undo failed"), errors.New("the pool's server is another one")
		says := func(when string, want error) {
			t.Helper()
			err := p.Unsettled("a", none)
			if !api.IsUnavailable(err) || !errors.Is(err, want) || !strings.HasSuffix(err.Error(), ": "+want.Error()) {
				t.Errorf("%s: %v", when, err)
			}
		}
		e := p.begin(t, about{Object: "a"})
		e.Leave(undo)
		says("left", undo)
		p.fails = func(about) error { return stale }
		p.Settle(t.Context(), "a", none)
		says("tried again", stale)
		e.Leave(undo)
		says("left once more", undo)
	})
}

// TestWhoWaitsIsToldOfEachThatIsSettled, and of nothing else; where none is left there is nothing to wait for.
func TestWhoWaitsIsToldOfEachThatIsSettled(t *testing.T) {
	closed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	p := newPatient(t, store.NewMemory())
	if !closed(p.NextSettled("a")) {
		t.Error("somebody waits for nothing")
	}
	first := true
	p.fails = func(a about) error {
		if a.N == 2 && first {
			first = false
			return errors.New("not yet")
		}
		return nil
	}
	for _, a := range []about{{"a", 1}, {"a", 2}, {"b", 1}} {
		p.begin(t, a).Leave(errors.New("the pool is away"))
	}
	one, other, elsewhere := p.NextSettled("a"), p.NextSettled("a"), p.NextSettled("b")
	p.Settle(t.Context(), "a", none)
	if !closed(one) || !closed(other) || closed(elsewhere) {
		t.Errorf("told: %v, %v; of another object: %v", closed(one), closed(other), closed(elsewhere))
	}
	next := p.NextSettled("a")
	if closed(next) || p.Unsettled("a", none) == nil {
		t.Error("all of it is settled")
	}
	p.Settle(t.Context(), "a", none)
	if !closed(next) || p.Unsettled("a", none) != nil || closed(elsewhere) {
		t.Error("the last is not told of")
	}
}
