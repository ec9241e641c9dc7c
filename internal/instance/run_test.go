package instance

import (
	"testing"

	"github.com/berthd/berth/api"
)

// TestRevivedOnceIsRevived: an instance that was stopped in the middle of a change, for two reasons even, comes back as it was.
func TestRevivedOnceIsRevived(t *testing.T) {
	for name, c := range map[string]struct {
		told          []bool
		there, paused bool
	}{
		"nobody": {nil, false, false}, "ran": {[]bool{false}, true, false}, "was paused": {[]bool{true}, true, true},
		"was paused, and restarts": {[]bool{true, false}, true, true}, "restarts, and was paused": {[]bool{false, true}, true, true},
		"twice": {[]bool{false, false}, true, false},
	} {
		var r runs
		for _, paused := range c.told {
			if r.revive("c1", paused) {
				t.Errorf("%s: it is late before Autostart", name)
			}
		}
		if r.isRevived("c1") != c.there || r.wasPaused("c1") != c.paused || r.isRevived("c2") || r.wasPaused("c2") {
			t.Errorf("%s: revived %t, paused %t", name, r.isRevived("c1"), r.wasPaused("c1"))
		}
		r.pick()
		if !r.revive("c1", false) {
			t.Errorf("%s: it is not late after Autostart", name)
		}
	}
}

// TestNothingIsKnownOfInstancesThatAreGone: names come and go for as long as the daemon runs.
func TestNothingIsKnownOfInstancesThatAreGone(t *testing.T) {
	h := newHouse(t, nil)
	h.create("stays", nil)
	h.do(h.action("stays", "start"))
	h.do(h.action("stays", "stop"))
	for _, ephemeral := range []bool{false, true} {
		h.create("goes", func(r *api.InstancesPost) { r.Ephemeral = ephemeral })
		h.runs.revive(h.stored("goes").UUID, true)
		h.do(h.action("goes", "start"))
		h.do(h.action("goes", "stop"))
		if !ephemeral {
			h.do(h.run(h.Post(t.Context(), "default", "goes", api.InstancePost{Name: "went"})))
			h.do(h.run(h.Delete(t.Context(), "default", "went")))
		}
		if len(h.runs.requests) != 1 || len(h.runs.revived) != 0 || h.runs.asked(h.stored("stays").UUID) == 0 {
			t.Errorf("ephemeral %v: it knows requests of %v, revived are %v", ephemeral, h.runs.requests, h.runs.revived)
		}
	}
}

// TestWhatAUserAskedForGoesWithTheInstance to another name and back.
func TestWhatAUserAskedForGoesWithTheInstance(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	asked := h.runs.asked(h.stored("c1").UUID)
	h.do(h.action("c1", "start"))
	h.do(h.action("c1", "stop"))
	for _, pair := range [][2]string{{"c1", "c2"}, {"c2", "c1"}} {
		h.do(h.run(h.Post(t.Context(), "default", pair[0], api.InstancePost{Name: pair[1]})))
		if got := h.runs.asked(h.stored(pair[1]).UUID); got != asked+3 {
			t.Errorf("as %s it was asked for %d times", pair[1], got)
		}
	}
}
