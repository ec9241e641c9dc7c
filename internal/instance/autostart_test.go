package instance

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
)

// bootable is one that starts with the machine, as its keys say.
func (h *house) bootable(project, name string, keys map[string]string) {
	h.t.Helper()
	req := api.InstancesPost{Name: name, Source: api.InstanceSource{Type: "none"}}
	req.Config = map[string]string{"boot.autostart": "true"}
	for key, value := range keys {
		req.Config[key] = value
	}
	req.Devices = map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "p1"}}
	h.do(h.run(h.Create(h.t.Context(), project, req)))
}

// starts are the IDs of what was started, in order.
func (r *fakeRuntime) starts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.order)
}

// twoTenants has two projects beside the default one, with instances that start with the machine.
func twoTenants(t *testing.T, keys map[string]string) *house {
	h := newHouse(t, nil)
	for _, project := range []string{"blue", "green"} {
		h.do(h.projects.Create(t.Context(), api.ProjectsPost{Name: project, ProjectPut: api.ProjectPut{Config: map[string]string{"features.profiles": "false"}}}))
	}
	h.bootable("blue", "greedy", keys)
	h.bootable("blue", "after", nil)
	h.bootable("green", "g1", map[string]string{"boot.autostart.priority": "5"})
	h.bootable("green", "g2", nil)
	h.bootable("default", "d1", nil)
	return h
}

// TestAnAutostartDelayHoldsOnlyItsProject has one tenant ask for the first place and a day's delay.
func TestAnAutostartDelayHoldsOnlyItsProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := twoTenants(t, map[string]string{"boot.autostart.priority": "1000000", "boot.autostart.delay": "86400"})
		done := h.Autostart()
		<-done // and not a day later
		if got := h.rt.starts(); len(got) != 4 || got[0] != "blue_greedy" || got[1] != "green_g1" || !slices.Contains(got, "d1") || !slices.Contains(got, "green_g2") {
			t.Errorf("started: %q", got)
		}
		time.Sleep(23 * time.Hour)
		synctest.Wait()
		if slices.Contains(h.rt.starts(), "blue_after") {
			t.Error("within the delay the next of its project is started")
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if !slices.Contains(h.rt.starts(), "blue_after") {
			t.Error("after the delay the next of its project is not started")
		}
		h.Close()
		_ = h.Store.Close()
	})
}

// TestAutostartGoesOnBesideAStartThatHangs, and the one that hangs is started once it can be.
func TestAutostartGoesOnBesideAStartThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := twoTenants(t, map[string]string{"boot.autostart.priority": "1000000"})
		answer := make(chan struct{})
		h.rt.slow = map[string]chan struct{}{"blue_greedy": answer}
		began := time.Now()
		<-h.Autostart()
		if took := time.Since(began); took != startPatience {
			t.Errorf("the others wait for %s", took)
		}
		synctest.Wait()
		if got := slices.Sorted(slices.Values(h.rt.starts())); !slices.Equal(got, []string{"d1", "green_g1", "green_g2"}) {
			t.Errorf("started: %q", got)
		}
		close(answer)
		synctest.Wait()
		if got := h.rt.starts(); len(got) != 5 || got[3] != "blue_greedy" || got[4] != "blue_after" {
			t.Errorf("started: %q", got)
		}
		h.Close()
		_ = h.Store.Close()
	})
}

// TestAutostartForgetsWhatWasStoppedDuringItsDelays, what is not to start any more, and what is another instance by then.
func TestAutostartForgetsWhatWasStoppedDuringItsDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.bootable("default", "first", map[string]string{"boot.autostart.priority": "9", "boot.autostart.delay": "12"})
		for _, name := range []string{"stopped", "unset", "another", "wanted"} {
			h.bootable("default", name, nil)
		}
		<-h.Autostart()
		h.do(h.action("stopped", "start"))
		h.do(h.action("stopped", "stop"))
		h.do(h.patch("unset", map[string]string{"boot.autostart": "false"}, nil))
		h.do(h.run(h.Delete(t.Context(), "default", "another")))
		h.bootable("default", "another", nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		for name, want := range map[string]string{"first": "Running", "stopped": "Stopped", "unset": "Stopped", "another": "Stopped", "wanted": "Running"} {
			if i := h.show(name); i.Status != want {
				t.Errorf("%s is %s", name, i.Status)
			}
		}
		h.Close()
		_ = h.Store.Close()
	})
}
