package instance

import (
	"testing"
	"testing/synctest"

	"github.com/berthd/berth/api"
)

// TestTwoChangesOfOneState: when its turn comes, the second of two equal changes finds that there is nothing left to do, says so, and
// leaves what the first has made.
func TestTwoChangesOfOneState(t *testing.T) {
	for action, c := range map[string]struct {
		before []string
		want   string // of the second
		status string // in the end
	}{
		"start":    {nil, "The instance is already running", "Running"},
		"stop":     {[]string{"start"}, "The instance is already stopped", "Stopped"},
		"freeze":   {[]string{"start"}, "The container is already frozen", "Frozen"},
		"unfreeze": {[]string{"start", "freeze"}, "The container is already running", "Running"},
	} {
		t.Run(action, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, nil)
				h.create("c1", nil)
				for _, a := range c.before {
					h.do(h.action("c1", a))
				}
				release := h.others("c1")
				first := waiting(func() error { return h.action("c1", action) })
				second := waiting(func() error { return h.action("c1", action) })
				release()
				h.do(first())
				if err := second(); api.StatusOf(err) != 400 || err.Error() != c.want {
					t.Errorf("the second says %v, want %q", err, c.want)
				}
				if got := h.show("c1").Status; got != c.status {
					t.Errorf("in the end it is %s", got)
				}
				if c.status != "Stopped" {
					h.do(h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "stop", Force: true, Timeout: -1})))
				}
				h.nothingLeft()
			})
		})
	}
}
