package instance

import (
	"errors"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/spec"
)

func TestARestartFromInsideTakesTheCurrentConfiguration(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", func(r *api.InstancesPost) { r.Devices = map[string]map[string]string{"eth0": {"type": "nic"}} })
	h.do(h.action("c1", "start"))
	h.do(h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: map[string]string{"environment.A": "b", "security.nesting": "true"}},
		func(string) bool { return false }, anyRevision))
	var got *spec.Spec
	launch := func(s *spec.Spec) error { got = s; return nil }
	h.do(h.Reboot(t.Context(), "c1", launch))
	if got == nil || !got.Nesting || got.Environment["A"] != "b" || len(got.NICs) != len(h.rt.specs["c1"].NICs) {
		t.Errorf("it starts again with %+v", got)
	}
	if len(h.nic.up) != 1 {
		t.Errorf("devices on the host: %v", h.nic.up)
	}

	// While a stop waits for its end it must not wait for the stop.
	l, err := h.acquire(t.Context(), "default", "c1", "stop", lock.Short)
	h.do(err)
	got = &spec.Spec{}
	h.do(h.Reboot(t.Context(), "c1", launch))
	if got != nil {
		t.Error("a new configuration in the middle of a stop")
	}
	l.Release()

	if err := h.Reboot(t.Context(), "c1", func(*spec.Spec) error { return errors.New("no") }); err == nil {
		t.Error("a launch that fails is no error")
	}
	h.rt.exit("c1") // as the runtime tells then
	h.do(h.waitStopped("c1"))
	h.nothingLeft()
}

// waitStopped waits until what goes on after an instance's end is over.
func (h *house) waitStopped(id string) error {
	if r := h.runs.get(id); r != nil {
		<-r.done
	}
	return nil
}
