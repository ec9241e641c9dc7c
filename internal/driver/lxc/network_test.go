package lxc

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/berthd/berth/api"
)

// TestInterfacesThatHangCostNothingElse has the kernel say nothing of a container's interfaces: all other figures come all the same.
func TestInterfacesThatHangCostNothingElse(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	s := h.spec("c1")
	_, err := d.Start(h.context(), s)
	h.do(err)
	answer := make(chan struct{})
	d.network = func(context.Context, *os.File, map[string]string) (map[string]api.InstanceStateNetwork, error) {
		<-answer
		return map[string]api.InstanceStateNetwork{"lo": {}}, nil
	}
	defer close(answer)
	for n := range 2 {
		began := time.Now()
		m, err := d.Metrics(h.context(), "c1")
		h.do(err)
		state, err := d.State(h.context(), "c1", nil)
		h.do(err)
		if m.Processes < 1 || m.MemoryTotal == 0 || state.Pid == 0 || len(m.Networks)+len(state.Network) > 0 {
			t.Errorf("figures: %+v; state: %+v", m, state)
		}
		if took := time.Since(began); n > 0 && took > networkTime { // it is known to hang
			t.Errorf("it takes %s", took)
		}
	}
	h.do(d.Kill(h.context(), s.ID))
	h.do(d.Cleanup(h.context(), s.ID, s.UUID))
}
