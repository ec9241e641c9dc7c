package instance

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
)

// TestStartDoesNotWaitForAnInstanceThatCannotBeEnded: a guest whose processes did not die kept a new daemon from answering anybody, when
// its forced stop had been cut off.
func TestStartDoesNotWaitForAnInstanceThatCannotBeEnded(t *testing.T) {
	for name, lost := range map[string]error{"with its monitor": nil, "without": errors.New("no init")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, nil)
				for _, name := range []string{"c1", "c2", "other"} {
					h.create(name, withNIC)
					h.do(h.action(name, "start"))
				}
				h.recordStopping(t.Context(), h.stored("c1"), stopForce)
				h.recordStopping(t.Context(), h.stored("c2"), stopForce)
				h.Close()
				h = newHouse(t, h)
				dead := make(chan struct{})
				h.rt.hangs = map[string]chan struct{}{"c1": dead, "c2": dead}
				if lost != nil {
					h.rt.lost = map[string]error{"c1": lost, "c2": lost}
				}
				began := time.Now()
				h.boot()
				if took := time.Since(began); took > adoptTime {
					t.Errorf("the daemon's start took %s", took)
				}
				if i := h.show("other"); i.Status != "Running" {
					t.Errorf("another instance is %s", i.Status)
				}
				for _, name := range []string{"c1", "c2"} {
					if i := h.show(name); i.StatusCode == api.Stopped || h.stored(name).Stopping != stopForce {
						t.Errorf("%s, which has not ended, is %s, and %q", name, i.Status, h.stored(name).Stopping)
					}
				}
				time.Sleep(3 * retryPause)
				h.rt.mu.Lock()
				h.rt.lost = nil
				h.rt.mu.Unlock()
				close(dead)
				time.Sleep(3 * retryPause)
				synctest.Wait()
				for _, name := range []string{"c1", "c2"} {
					if i := h.show(name); i.Status != "Stopped" || i.Config["volatile.last_state.power"] != "STOPPED" {
						t.Errorf("%s is %s, recorded as %s", name, i.Status, i.Config["volatile.last_state.power"])
					}
				}
				h.do(h.action("other", "stop"))
				h.nothingLeft()
				h.Close()
			})
		})
	}
}
