package instance

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/storage"
)

// ephemeral makes an ephemeral instance that runs.
func ephemeral(t *testing.T) *house {
	h := newHouse(t, nil)
	h.create("eph", func(r *api.InstancesPost) { r.Ephemeral = true })
	h.do(h.action("eph", "start"))
	return h
}

// gone tells whether nothing of the ephemeral instance is left.
func (h *house) gone(n int) bool {
	h.t.Helper()
	if row, ok := h.instances.Get("default", "eph"); ok {
		h.t.Errorf("after %d commits it is there: stopping %q, power %q", n, row.Value.Stopping, row.Value.Config["volatile.last_state.power"])
		return false
	}
	h.onlyVolumes()
	h.nothingLeft()
	return true
}

// TestAnEphemeralInstanceWhoseStopIsCutOffGoes ends the daemon after any number of commits of a stop.
func TestAnEphemeralInstanceWhoseStopIsCutOffGoes(t *testing.T) {
	for _, force := range []bool{true, false} {
		for n := 1; ; n++ {
			h := ephemeral(t)
			before := h.engine.commits
			h.engine.failAt(n, true)
			_ = h.run(h.SetState(t.Context(), "default", "eph", api.InstanceStatePut{Action: "stop", Force: force}))
			through := h.engine.commits == before+n
			h.engine.failAt(-1, false)
			next := newHouse(t, h)
			next.boot()
			if !next.gone(n) || through {
				break
			}
		}
	}
}

// TestAnEphemeralInstanceThatEndsByItselfGoes although the daemon is killed once its end is known.
func TestAnEphemeralInstanceThatEndsByItselfGoes(t *testing.T) {
	h := ephemeral(t)
	r := h.runs.get("eph")
	h.engine.failAt(1, true)
	h.rt.exit("eph")
	<-r.done
	h.engine.failAt(-1, false)
	next := newHouse(t, h)
	next.boot()
	next.gone(1)
}

// TestAnEphemeralInstanceThatWasNeverStoppedStays, whatever else is known of it.
func TestAnEphemeralInstanceThatWasNeverStoppedStays(t *testing.T) {
	h := newHouse(t, nil)
	h.create("eph", func(r *api.InstancesPost) { r.Ephemeral = true })
	h = newHouse(t, h)
	h.boot()
	h.do(h.action("eph", "start"))
	h = newHouse(t, h)
	h.boot()
	if i := h.show("eph"); i.Status != "Running" {
		t.Errorf("it is %s", i.Status)
	}
	delete(h.rt.state, "eph") // while no daemon runs
	h = newHouse(t, h)
	h.boot()
	if i := h.show("eph"); i.Status != "Running" {
		t.Errorf("after a crash it is %s", i.Status)
	}
}

// TestAnEphemeralInstanceThatIsCopiedGoesAfterTheCopy, however long that takes.
func TestAnEphemeralInstanceThatIsCopiedGoesAfterTheCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := ephemeral(t)
		defer h.Close()
		goOn := make(chan struct{})
		h.volumes.copying = func(storage.VolumeID) error { <-goOn; return nil }
		copied := waiting(func() error {
			return h.run(h.Create(t.Context(), "default", api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "eph"}}))
		})
		stopped := waiting(func() error {
			return h.run(h.SetState(t.Context(), "default", "eph", api.InstanceStatePut{Action: "stop", Force: true}))
		})
		time.Sleep(time.Hour)
		close(goOn)
		h.do(stopped())
		if err := copied(); err == nil {
			t.Error("a copy of what was stopped meanwhile")
		}
		h.gone(0)
	})
}

// leave leaves an entry of the instance, of a snapshot that could be neither made nor taken back.
func (h *house) leave(snapshot string) {
	c := changeOf(h.stored("eph"))
	c.Snapshot, c.Volumes = snapshot, []storage.VolumeID{h.stored("eph").snapshotVolume(snapshot)}
	entry, err := h.Journal.Begin(h.t.Context(), kindSnapshot, c)
	h.do(err)
	entry.Leave(errors.New("read-only file system"))
}

// TestAnEphemeralInstanceThatIsKeptGoesOnceThatIsSettled, by this daemon: when it has been stopped, and when a daemon finds that it has ended.
func TestAnEphemeralInstanceThatIsKeptGoesOnceThatIsSettled(t *testing.T) {
	for _, next := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := ephemeral(t)
			h.leave("s0")
			h.leave("s1")
			h.volumes.away.Store(true)
			h.do(h.run(h.SetState(t.Context(), "default", "eph", api.InstanceStatePut{Action: "stop", Force: true})))
			synctest.Wait()
			if next {
				h.Close()
				h = newHouse(t, h)
				h.volumes.away.Store(true)
				h.boot()
			}
			if i := h.show("eph"); i.Status != "Stopped" || h.Journal.Pending() != 2 {
				t.Fatalf("it is %s, with %d entries", i.Status, h.Journal.Pending())
			}
			h.volumes.away.Store(false)
			retrying, end := context.WithCancel(t.Context())
			go h.Journal.Retry(retrying)
			time.Sleep(time.Minute)
			end()
			synctest.Wait()
			h.gone(0)
			h.Close()
			_ = h.Store.Close()
		})
	}
}

// TestAnEphemeralInstanceThatIsKeptAndStartedAgainStays until its next stop.
func TestAnEphemeralInstanceThatIsKeptAndStartedAgainStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := ephemeral(t)
		h.leave("s0")
		h.volumes.deleting = func(storage.VolumeID) error { return errors.New("no") }
		h.do(h.run(h.SetState(t.Context(), "default", "eph", api.InstanceStatePut{Action: "stop", Force: true})))
		synctest.Wait()
		h.do(h.action("eph", "start"))
		h.volumes.deleting = nil
		h.Journal.Settle(t.Context(), h.stored("eph").UUID, func(string) bool { return false })
		synctest.Wait()
		if i := h.show("eph"); i.Status != "Running" || h.Journal.Pending() != 0 {
			t.Fatalf("it is %s, with %d entries", i.Status, h.Journal.Pending())
		}
		h.do(h.action("eph", "stop"))
		h.gone(0)
		h.Close()
		_ = h.Store.Close()
	})
}
