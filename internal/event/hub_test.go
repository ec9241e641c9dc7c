package event

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/request"
)

func all() map[string]bool {
	return map[string]bool{TypeLifecycle: true, TypeLogging: true, TypeOperation: true}
}

// next takes an event that must be there already: publishing queues before it returns.
func next(t *testing.T, l *Listener) api.Event {
	t.Helper()
	var e api.Event
	select {
	case data := <-l.Events():
		if err := json.Unmarshal(data, &e); err != nil {
			t.Fatal(err)
		}
	default:
		t.Fatal("no event")
	}
	return e
}

func TestEventsGoWhereTheyBelong(t *testing.T) {
	h := NewHub()
	mine := h.Listen(Filter{Types: all(), Project: "a"})
	every := h.Listen(Filter{Types: map[string]bool{TypeLifecycle: true}, Projects: true})
	ctx := request.WithCaller(context.Background(), request.Caller{Protocol: "unix", Username: "root", Address: "@"})
	h.Lifecycle(ctx, "b", "instance-created", "/1.0/instances/x", nil)
	h.Lifecycle(ctx, "a", "instance-started", "/1.0/instances/y", map[string]any{"k": "v"})
	h.Operation("a", api.Operation{ID: "1"})

	e := next(t, mine)
	var life api.EventLifecycle
	if err := json.Unmarshal(e.Metadata, &life); err != nil || e.Type != TypeLifecycle || e.Project != "a" || e.Location != "none" {
		t.Fatalf("%v %+v", err, e)
	}
	if life.Action != "instance-started" || life.Requestor == nil || life.Requestor.Username != "root" || life.Context["k"] != "v" {
		t.Errorf("%+v", life)
	}
	if e := next(t, mine); e.Type != TypeOperation {
		t.Errorf("%+v", e)
	}
	if a, b := next(t, every), next(t, every); a.Project != "b" || b.Project != "a" {
		t.Errorf("%+v %+v", a, b)
	}
	select {
	case data := <-every.Events():
		t.Errorf("not asked for: %s", data)
	default:
	}
}

func TestASlowListenerIsDroppedAndHoldsNobodyUp(t *testing.T) {
	h := NewHub()
	slow := h.Listen(Filter{Types: all(), Projects: true})
	for range queueLength + 1 {
		h.Operation("", api.Operation{})
	}
	n := 0
	for range slow.Events() { // ends: the queue is closed
		n++
	}
	if n != queueLength || len(h.listeners) != 0 {
		t.Errorf("%d events, %d listeners", n, len(h.listeners))
	}
	slow.Close() // once more is no error
}

func TestLogLinesBecomeEvents(t *testing.T) {
	h := NewHub()
	log := slog.New(LogHandler(h, slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError})))
	if log.Enabled(context.Background(), slog.LevelDebug) {
		t.Error("log lines that nobody reads are made")
	}
	l := h.Listen(Filter{Types: all(), Level: slog.LevelInfo})
	log.Debug("hidden")
	log.With("a", 1).WithGroup("g").Warn("shown", "b", "x")
	var line api.EventLogging
	if err := json.Unmarshal(next(t, l).Metadata, &line); err != nil {
		t.Fatal(err)
	}
	if line.Message != "shown" || line.Level != "warning" || line.Context["a"] != "1" || line.Context["g.b"] != "x" {
		t.Errorf("%+v", line)
	}
}

func TestClosedHub(t *testing.T) {
	h := NewHub()
	a := h.Listen(Filter{Types: all()})
	h.Close()
	b := h.Listen(Filter{Types: all()})
	for _, l := range []*Listener{a, b} {
		if _, open := <-l.Events(); open {
			t.Error("a closed hub delivers")
		}
	}
	h.Operation("", api.Operation{})
}
