package instance

import (
	"bytes"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
)

// One guest that the kernel has nothing to say of must not keep back the list of all.
func TestAGuestThatHangsIsListedWithoutItsFigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		for _, name := range []string{"c1", "hung"} {
			h.create(name, nil)
			h.do(h.action(name, "start"))
		}
		release := make(chan struct{})
		h.rt.silent = map[string]chan struct{}{"hung": release}
		every := func(api.InstanceType) bool { return true }
		for n, most := range []time.Duration{liveTime, 0, 0} { // later ones know that it hangs
			began := time.Now()
			var out bytes.Buffer
			h.do(h.WriteList(t.Context(), &out, "default", true, every))
			if took := time.Since(began); took > most {
				t.Errorf("list %d took %s", n, took)
			}
			var list []api.InstanceFull
			h.do(json.Unmarshal(out.Bytes(), &list))
			if len(list) != 2 || list[0].State.Pid != 1234 || list[1].State.Pid != 0 || list[1].State.Status != "Running" || list[1].Name != "hung" {
				t.Errorf("list %d: %s", n, out.Bytes())
			}
		}
		close(release)
		synctest.Wait()
		state, err := h.State(t.Context(), "default", "hung")
		h.do(err)
		if state.Pid != 1234 {
			t.Errorf("once it answers: %+v", state)
		}
		h.Close()
	})
}

// What the kernel says of a guest is told though its pool does not answer.
func TestAPoolThatHangsKeepsNoStateBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.create("c1", nil)
		h.do(h.action("c1", "start"))
		h.volumes.silent = make(chan struct{})
		began := time.Now()
		state, err := h.State(t.Context(), "default", "c1")
		h.do(err)
		if took := time.Since(began); state.Pid != 1234 || len(state.Disk) != 0 || took > liveTime {
			t.Errorf("after %s: %+v", took, state)
		}
		close(h.volumes.silent)
		synctest.Wait()
		h.Close()
	})
}
