package instance

import "testing"

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
