package instance

import (
	"context"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/instance/files"
)

// stays is somebody who uses the files of c1 until told to go.
func (h *house) stays() (left <-chan struct{}) {
	h.t.Helper()
	root, err := h.LastingRoot(h.t.Context(), "default", "c1")
	h.do(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-root.Gone
		root.Release()
	}()
	return done
}

// Whoever uses the files of an instance for longer than one call has gone when the instance is another one by then: what they have
// open keeps no mount, and what they would write goes nowhere else.
func TestVisitorsLeave(t *testing.T) {
	post := func(p api.InstancePost) func(*house) error {
		return func(h *house) error { return h.run(h.Post(h.t.Context(), "default", "c1", p)) }
	}
	actions := map[string]struct {
		runs bool
		do   func(h *house) error
	}{
		"start":           {false, func(h *house) error { return h.action("c1", "start") }},
		"stop":            {true, func(h *house) error { return h.action("c1", "stop") }},
		"restart":         {true, func(h *house) error { return h.action("c1", "restart") }},
		"delete":          {false, func(h *house) error { return h.run(h.Delete(h.t.Context(), "default", "c1")) }},
		"rename":          {false, post(api.InstancePost{Name: "c2"})},
		"move":            {false, post(api.InstancePost{Migration: true, Pool: "p2"})},
		"restore":         {false, func(h *house) error { return h.run(h.Restore(h.t.Context(), "default", "c1", "s0", anyRevision)) }},
		"restore running": {true, func(h *house) error { return h.run(h.Restore(h.t.Context(), "default", "c1", "s0", anyRevision)) }},
	}
	for name, action := range actions {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			h.rt.rooted = true
			h.create("c1", nil)
			h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s0"})))
			if action.runs {
				h.do(h.action("c1", "start"))
			}
			visitors := []<-chan struct{}{h.stays(), h.stays()}
			h.do(action.do(h))
			for _, left := range visitors {
				select {
				case <-left:
				case <-time.After(30 * time.Second):
					t.Fatal("somebody is still there")
				}
			}
			if n := len(h.visits.in); n != 0 {
				t.Errorf("%d places are held for visitors", n)
			}
		})
	}
}

// A snapshot takes the files away from nobody.
func TestVisitorsStay(t *testing.T) {
	h := newHouse(t, nil)
	h.rt.rooted = true
	h.create("c1", nil)
	h.do(h.action("c1", "start"))
	left := h.stays()
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s0"})))
	select {
	case <-left:
		t.Error("gone without a reason")
	default:
	}
	h.do(h.action("c1", "stop"))
	<-left
}

// One who does not go in time holds up nobody for ever.
func TestAVisitorThatIsStuck(t *testing.T) {
	h := newHouse(t, nil)
	h.rt.rooted = true
	h.create("c1", nil)
	h.do(h.action("c1", "start"))
	root, err := h.LastingRoot(t.Context(), "default", "c1")
	h.do(err)
	h.do(h.action("c1", "stop"))
	if _, err := h.get("default", "c1"); err != nil || h.running(h.rows("")[0]) {
		t.Errorf("the instance did not stop: %v", err)
	}
	root.Release()
}

// Who comes while an instance starts and stops all the time is always told to go in the end.
func TestVisitorsComeAllTheTime(t *testing.T) {
	h := newHouse(t, nil)
	h.rt.rooted = true
	h.create("c1", nil)
	ctx, stop := context.WithCancel(t.Context())
	visits := make(chan struct{})
	go func() {
		defer close(visits)
		for ctx.Err() == nil {
			var root files.Root
			root, err := h.LastingRoot(ctx, "default", "c1")
			if err != nil {
				continue
			}
			<-root.Gone
			root.Release()
		}
	}()
	for range 20 {
		h.do(h.action("c1", "start"))
		h.do(h.action("c1", "stop"))
	}
	stop()
	h.do(h.run(h.Delete(t.Context(), "default", "c1")))
	select {
	case <-visits:
	case <-time.After(time.Minute):
		t.Error("a visitor was forgotten")
	}
}
