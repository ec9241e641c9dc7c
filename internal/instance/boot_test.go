package instance

import (
	"context"
	"errors"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
)

func (h *house) stored(name string) *Instance {
	h.t.Helper()
	row, err := h.get("default", name)
	h.do(err)
	return row.Value
}

// boot is what a daemon does at its start, up to and with the start of instances.
func (h *house) boot() {
	h.t.Helper()
	h.do(h.Journal.Recover(h.t.Context()))
	h.do(h.Adopt(h.t.Context()))
	<-h.Autostart()
}

func TestTheWishToStopIsRecordedBeforeAnythingIsDone(t *testing.T) {
	for _, force := range []bool{false, true} {
		h := newHouse(t, nil)
		h.create("c1", withNIC)
		h.do(h.action("c1", "start"))
		var seen Stopping
		h.rt.onEnd = func(string) { seen = h.stored("c1").Stopping }
		before := h.engine.commits
		h.do(h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "stop", Force: force})))
		if seen != stoppingBy(force) {
			t.Errorf("force %v: the record said %q when the instance was ended", force, seen)
		}
		if n := h.engine.commits - before; n != 2 {
			t.Errorf("force %v: a stop took %d commits", force, n)
		}
		if i := h.stored("c1"); i.Stopping != "" || i.Config["volatile.last_state.power"] != "STOPPED" {
			t.Errorf("force %v: afterwards the record says %q, %s", force, i.Stopping, i.Config["volatile.last_state.power"])
		}
	}
}

func TestAStopThatFailsIsNoWish(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.do(h.action("c1", "start"))
	h.rt.stuck = make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := h.stop(ctx, "default", "c1", false, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if i := h.stored("c1"); i.Stopping != "" || i.Config["volatile.last_state.power"] != "RUNNING" {
		t.Errorf("the record says %q, %s", i.Stopping, i.Config["volatile.last_state.power"])
	}
	h.do(h.stop(t.Context(), "default", "c1", true, 0))
	h.nothingLeft()
}

// cutOff begins a stop that the end of the daemon cuts off while the guest has not ended yet.
func cutOff(h *house) {
	h.create("c1", nil)
	h.do(h.action("c1", "start"))
	h.rt.stuck = make(chan struct{})
	ctx, end := context.WithCancelCause(h.t.Context())
	h.rt.onEnd = func(string) { end(operation.ErrShutdown) }
	if err := h.stop(ctx, "default", "c1", false, 0); err == nil {
		h.t.Fatal("the stop was not cut off")
	}
	h.rt.onEnd = nil
	h.Close()
}

func TestAStopThatWasCutOffIsNotUndoneByAutostart(t *testing.T) {
	h := newHouse(t, nil)
	cutOff(h)
	delete(h.rt.state, "c1") // the guest has heard the signal
	h = newHouse(t, h)
	h.boot()
	if i := h.show("c1"); i.Status != "Stopped" || i.Config["volatile.last_state.power"] != "STOPPED" {
		t.Errorf("the instance is %s, its record says %s", i.Status, i.Config["volatile.last_state.power"])
	}
	h.nothingLeft()
}

func TestAStopThatWasCutOffGoesOn(t *testing.T) {
	for _, how := range []Stopping{stopClean, stopForce} {
		h := newHouse(t, nil)
		cutOff(h)
		h = newHouse(t, h)
		h.recordStopping(t.Context(), h.stored("c1"), how)
		h.rt.stuck = nil
		h.boot()
		h.tasks.Wait()
		if i := h.show("c1"); i.Status != "Stopped" {
			t.Errorf("%s: the instance is %s", how, i.Status)
		}
		if killed := len(h.rt.kills) > 0; killed != (how == stopForce) {
			t.Errorf("%s: killed: %v", how, h.rt.kills)
		}
		h.nothingLeft()
	}
}

func TestAUsersStopHoldsWhenTheHostShutsDown(t *testing.T) {
	h := newHouse(t, nil)
	for _, name := range []string{"c1", "c2"} {
		h.create(name, nil)
		h.do(h.action(name, "start"))
	}
	h.recordStopping(t.Context(), h.stored("c2"), stopClean)
	h.StopAll(t.Context())
	for name, want := range map[string]string{"c1": "RUNNING", "c2": "STOPPED"} {
		if i := h.stored(name); i.Config["volatile.last_state.power"] != want || i.Stopping != "" {
			t.Errorf("%s: %s, %q", name, i.Config["volatile.last_state.power"], i.Stopping)
		}
	}
	h.nothingLeft()
}

// leftAlone checks that nobody touches an instance that could not be taken over.
func (h *house) leftAlone(name string) {
	h.t.Helper()
	if i := h.show(name); i.StatusCode != api.StatusError || i.Status != "Error" {
		h.t.Errorf("the instance is shown as %s", i.Status)
	}
	for _, action := range []string{"start", "stop", "restart"} {
		if err := h.action(name, action); err == nil {
			h.t.Errorf("%s of an instance that could not be taken over succeeds", action)
		}
	}
	err := h.run(h.SetState(h.t.Context(), "default", name, api.InstanceStatePut{Action: "stop", Force: true}))
	if api.StatusOf(err) != http.StatusServiceUnavailable {
		h.t.Errorf("forced stop: %v", err)
	}
	if err := h.run(h.Delete(h.t.Context(), "default", name)); err == nil {
		h.t.Error("it is deleted")
	}
	if len(h.rt.kills) > 0 {
		h.t.Errorf("killed: %v", h.rt.kills)
	}
	if _, err := os.Stat(h.devicesPath(name)); err != nil {
		h.t.Errorf("its folder: %v", err)
	}
}

func TestWhatCannotBeTakenOverIsLeftAlone(t *testing.T) {
	for name, fails := range map[string]func(h *house, err error) error{
		"one of them": func(h *house, err error) error { h.rt.lost = map[string]error{"c1": err}; return nil },
		"all":         func(h *house, err error) error { h.rt.blind = err; return err },
		"another's":   func(h *house, _ error) error { h.rt.bears = map[string]string{"c1": "of another"}; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, nil)
				h.create("c1", withNIC)
				h.create("c2", nil)
				h.do(h.action("c1", "start"))
				h.do(h.action("c2", "start"))
				h.Close()
				delete(h.rt.state, "c2") // it is to be started again
				h = newHouse(t, h)
				want := fails(h, errors.New("too many open files"))
				if err := h.Adopt(t.Context()); !errors.Is(err, want) || (want != nil) != (err != nil) {
					t.Fatal(err)
				}
				<-h.Autostart()
				h.leftAlone("c1")
				time.Sleep(5 * retryPause)
				h.leftAlone("c1")

				h.rt.mu.Lock()
				h.rt.lost, h.rt.blind, h.rt.bears = nil, nil, nil
				h.rt.mu.Unlock()
				time.Sleep(3 * retryPause)
				synctest.Wait()
				for _, name := range []string{"c1", "c2"} {
					if i := h.show(name); i.Status != "Running" || h.runs.get(name) == nil {
						t.Errorf("%s is %s", name, i.Status)
					}
				}
				h.do(h.action("c1", "stop"))
				h.do(h.action("c2", "stop"))
				h.nothingLeft()
				h.Close()
			})
		})
	}
}

// TestAForcedStopIsNotFinishedOnAnother: the store says of an instance that it is to be stopped by force, and what runs is another.
func TestAForcedStopIsNotFinishedOnAnother(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.do(h.action("c1", "start"))
	h.do(h.modify(t.Context(), "default", "c1", func(i *Instance) error {
		i.Stopping = stopForce
		return nil
	}))
	h.Close()
	h = newHouse(t, h)
	h.rt.bears = map[string]string{"c1": "of another"}
	h.do(h.Adopt(t.Context()))
	h.leftAlone("c1")
	if i := h.stored("c1"); i.Stopping != stopForce {
		t.Errorf("the wish is %q", i.Stopping)
	}
}

func TestIDs(t *testing.T) {
	for _, want := range [][2]string{{"default", "c1"}, {"p", "c1"}, {"a_b", "c-1"}} {
		if project, name := ofID(id(want[0], want[1])); project != want[0] || name != want[1] {
			t.Errorf("%v becomes %s, %s", want, project, name)
		}
	}
}

func TestAnInstanceStartsWhenItsPoolIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.create("c1", nil)
		h.do(h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: map[string]string{"boot.autostart": "true"}}, func(string) bool { return false }, anyRevision))
		h.rt.fail = api.Unavailable("Storage pool %q unavailable: still being mounted", "p1")
		<-h.Autostart()
		if i := h.show("c1"); i.Status != "Stopped" {
			t.Fatal(i.Status)
		}
		h.rt.mu.Lock()
		h.rt.fail = nil
		h.rt.mu.Unlock()
		time.Sleep(2 * retryPause)
		synctest.Wait()
		if i := h.show("c1"); i.Status != "Running" {
			t.Error(i.Status)
		}
		h.do(h.action("c1", "stop"))
		h.Close()
	})
}

// Whatever guests do, and whoever holds their locks.
func TestTheStopOfAllHasABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		for _, name := range []string{"deaf", "undead", "fine"} {
			h.create(name, nil)
			h.do(h.action(name, "start"))
		}
		forever := make(chan struct{})
		h.rt.hangs = map[string]chan struct{}{"undead": forever} // neither a signal nor a kill ends it
		h.rt.deaf = map[string]bool{"deaf": true}                // it does not care for signals
		const limit = 20 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		began := time.Now()
		h.StopAll(ctx)
		if took := time.Since(began); took > limit+killTime {
			t.Errorf("it took %s", took)
		}
		for name, want := range map[string]string{"deaf": "Stopped", "undead": "Running", "fine": "Stopped"} {
			if i := h.show(name); i.Status != want || i.Config["volatile.last_state.power"] != "RUNNING" {
				t.Errorf("%s is %s, recorded as %s", name, i.Status, i.Config["volatile.last_state.power"])
			}
		}
		close(forever)
		h.Close()
	})
}
