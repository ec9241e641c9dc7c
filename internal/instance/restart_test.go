package instance

import (
	"errors"
	"testing"

	"github.com/berthd/berth/api"
)

// TestARestartThatIsCutOffLeavesTheInstanceRunning ends the daemon after any number of commits of a restart.
func TestARestartThatIsCutOffLeavesTheInstanceRunning(t *testing.T) {
	for n := range 4 {
		h := newHouse(t, nil)
		h.launch("c1", nil)
		h.engine.failAt(n, true)
		failed := h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "restart", Force: true})) != nil
		h.engine.failAt(-1, false)
		next := newHouse(t, h)
		next.boot()
		if i := next.show("c1"); i.Status != "Running" || i.Config["volatile.last_state.power"] != powerRunning {
			t.Errorf("after %d commits it is %s, %s", n, i.Status, i.Config["volatile.last_state.power"])
		}
		if !failed {
			return
		}
	}
	t.Error("a restart takes more commits than are tried")
}

// TestARestartThatFailsIsAStop: what was seen not to start is not started by the next daemon either.
func TestARestartThatFailsIsAStop(t *testing.T) {
	h := newHouse(t, nil)
	h.launch("c1", nil)
	h.nic.fail = errors.New("no")
	if err := h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "restart", Force: true})); err == nil {
		t.Error("no error")
	}
	h.nic.fail = nil
	if i := h.show("c1"); i.Status != "Stopped" || i.Config["volatile.last_state.power"] != powerStopped {
		t.Errorf("it is %s, %s", i.Status, i.Config["volatile.last_state.power"])
	}
	h.nothingLeft()
}
