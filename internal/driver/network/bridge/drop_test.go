package bridge

import (
	"maps"
	"testing"
)

// TestADropIsOfAllWhoJoined: one that may have asked for a lease is enough for a restart, in whatever order they come; who comes once it
// has begun is of the next; and those of another network are not concerned.
func TestADropIsOfAllWhoJoined(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for name, asked := range map[string][]bool{"none": {false, false}, "the first": {true, false}, "the last": {false, true}, "one of three": {false, true, false}} {
		var d *drops
		want, restart := map[string]bool{}, false
		for n, a := range asked {
			mac := string(rune('a' + n))
			want[mac], restart = true, restart || a
			if now := join(dir, mac, a); d != nil && now != d {
				t.Errorf("%s: %s does not join", name, mac)
			} else {
				d = now
			}
		}
		apart := join(other, "z", true)
		if d.restart != restart || !maps.Equal(d.macs, want) || apart == d {
			t.Errorf("%s: of %v, restart %t", name, d.macs, d.restart)
		}
		leave(dir, d)
		next := join(dir, "late", false)
		if next == d || next.restart || len(next.macs) != 1 || d.macs["late"] {
			t.Errorf("%s: the next is %+v", name, next)
		}
		leave(dir, d) // which has left already
		if join(dir, "later", false) != next {
			t.Errorf("%s: the next was ended with the one before", name)
		}
		leave(dir, next)
		leave(other, apart)
	}
	if len(waiting) != 0 {
		t.Errorf("left: %v", waiting)
	}
}
