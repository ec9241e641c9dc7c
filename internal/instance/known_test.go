package instance

import (
	"errors"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/storage"
)

// knows fails if the networks know of anything but the first NIC of the instances named.
func (h *house) knows(names ...string) {
	h.t.Helper()
	h.nic.mu.Lock()
	defer h.nic.mu.Unlock()
	want := map[string]string{}
	for _, name := range names {
		want[name+"/eth0"] = ""
	}
	if !maps.Equal(h.nic.known, want) {
		h.t.Errorf("the networks know %q, not %q", h.nic.known, want)
	}
}

// TestARenameThatFailsKeepsWhatNetworksKnow, wherever it fails, and wherever the daemon ends.
func TestARenameThatFailsKeepsWhatNetworksKnow(t *testing.T) {
	for _, dead := range []bool{false, true} {
		for n := 0; ; n++ {
			h := newHouse(t, nil)
			h.create("c1", withNIC)
			h.knows("c1")
			h.engine.failAt(n, dead)
			err := h.rename(t.Context(), "default", "c1", "c2")
			through := h.engine.left >= 0 && err == nil
			h.engine.failAt(-1, false)
			if dead {
				h = newHouse(t, h)
				h.boot()
			}
			if _, renamed := h.instances.Get("default", "c2"); renamed {
				h.knows("c2")
			} else {
				h.knows("c1")
			}
			if through {
				break
			}
		}
	}
}

// TestADeletionThatFailsKeepsWhatNetworksKnow: the instance is there still.
func TestADeletionThatFailsKeepsWhatNetworksKnow(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", withNIC)
	h.volumes.deleting = func(v storage.VolumeID) error {
		if strings.HasPrefix(v.Name, "c1") {
			return errors.New("it is busy")
		}
		return nil
	}
	if err := h.delete(t.Context(), "default", "c1"); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(h.volumes.Path(h.stored("c1").volume())); err != nil {
		t.Fatal(err)
	}
	h.knows("c1")
	h.volumes.deleting = nil
	h.do(h.delete(t.Context(), "default", "c1"))
	h.knows()
}

// TestWhatNetworksShouldKnowIsToldThemAgain: a daemon that is killed after the commit of a change has not told them yet.
func TestWhatNetworksShouldKnowIsToldThemAgain(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", withNIC)
	clear(h.nic.known)
	h = newHouse(t, h)
	h.boot()
	h.knows("c1")
}
