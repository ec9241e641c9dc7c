package journal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	stdlog "log"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/store"
)

// TestReadyIsAskedBeforeTheHold: what is claimed for a handler that hangs stays claimed.
func TestReadyIsAskedBeforeTheHold(t *testing.T) {
	p := newPatient(t, store.NewMemory())
	defer func() { _ = p.store.Close() }()
	errHung := errors.New("the pool does not answer")
	answer := errHung
	p.Guard("change", journal.Guard{
		Objects: func(json.RawMessage) []string { return []string{"a"} },
		Ready:   func(context.Context, json.RawMessage) error { return answer },
		Hold: func(context.Context, json.RawMessage) (func(), error) {
			p.hold(1)
			return func() {}, nil
		},
	})
	p.begin(t, about{Object: "a"}).Leave(errors.New("undo failed"))
	p.Settle(t.Context(), "a", none)
	if p.held != 0 || len(p.tried()) != 0 {
		t.Errorf("held %d times, tried %v", p.held, p.tried())
	}
	if err := p.Unsettled("a", none); !errors.Is(err, errHung) {
		t.Errorf("it is kept back with %v", err)
	}
	answer = nil
	p.Settle(t.Context(), "a", none)
	if p.held != 1 || len(p.tried()) != 1 || p.Pending() != 0 {
		t.Errorf("held %d times, tried %v, %d left", p.held, p.tried(), p.Pending())
	}
}

// TestSettleLeavesBehindWhatHangs, so that who needs the object is told in time.
func TestSettleLeavesBehindWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(t, store.NewMemory())
		defer func() { _ = p.store.Close() }()
		thawed := make(chan struct{})
		p.fails = func(about) error { <-thawed; return nil }
		p.begin(t, about{Object: "a"}).Leave(errors.New("undo failed"))
		for range 2 {
			p.Settle(t.Context(), "a", none)
			if err := p.Unsettled("a", none); err == nil || len(p.tried()) != 1 {
				t.Errorf("kept back with %v, tried %v", err, p.tried())
			}
		}
		close(thawed)
		synctest.Wait()
		if err := p.Unsettled("a", none); err != nil || p.Pending() != 0 {
			t.Errorf("kept back with %v, %d left", err, p.Pending())
		}
	})
}

// TestWhatIsAsideHoldsUpNothingLater: what a dead disk keeps from being removed is nobody's business, and may stay for ever.
func TestWhatIsAsideHoldsUpNothingLater(t *testing.T) {
	for name, try := range map[string]func(*patient){
		"settled":  func(p *patient) { p.Settle(t.Context(), "a", func(kind string) bool { return kind == "rest" }) },
		"by retry": func(p *patient) { synctest.Test(t, func(*testing.T) { p.retry(time.Minute) }) },
	} {
		p := newPatient(t, store.NewMemory())
		p.Handle("rest", func(context.Context, json.RawMessage) error { return errors.New("its disk is dead") })
		p.Guard("rest", journal.Guard{Aside: true, Objects: func(json.RawMessage) []string { return []string{"a"} }})
		rest, err := p.Begin(t.Context(), "rest", about{Object: "a"})
		if err != nil {
			t.Fatal(err)
		}
		rest.Leave(errors.New("its disk is dead"))
		p.begin(t, about{Object: "a"}).Leave(errors.New("undo failed"))
		try(p)
		if n := len(p.tried()); n != 1 || p.Pending() != 1 {
			t.Errorf("%s: the later change was tried %d times, %d are left", name, n, p.Pending())
		}
		_ = p.store.Close()
	}
}

// TestWhatIsNotReadyIsLoggedOnce for each cause, however often it is tried.
func TestWhatIsNotReadyIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	before, output := slog.Default(), stdlog.Writer()
	defer func() { slog.SetDefault(before); stdlog.SetOutput(output) }()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	p := newPatient(t, store.NewMemory())
	defer func() { _ = p.store.Close() }()
	answer := errors.New("the pool does not answer")
	p.Guard("change", journal.Guard{
		Objects: func(json.RawMessage) []string { return []string{"a"} },
		Ready:   func(context.Context, json.RawMessage) error { return answer },
	})
	p.begin(t, about{Object: "a"}).Leave(errors.New("undo failed"))
	logged := func(text string, want int) {
		t.Helper()
		for range 3 {
			p.Settle(t.Context(), "a", none)
		}
		if n := strings.Count(log.String(), text); n != want {
			t.Errorf("logged %d times, not %d: %s", n, want, log.String())
		}
	}
	logged("the pool does not answer", 1)
	answer = errors.New("still being mounted")
	logged("still being mounted", 1)
	answer = nil
	logged("recovered an unfinished change", 1)
	logged("waits for what it works on", 2)
}
