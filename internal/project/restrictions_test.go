package project

import (
	"net/http"
	"testing"

	"github.com/berthd/berth/api"
)

func needing(n Need) Contents {
	n.Refusal = "refused"
	return Contents{Instances: []Instance{{Name: "c", Needs: func() []Need { return []Need{n} }}}}
}

// Each value of each key is tried against each need of it: what is granted is what the value names, and all that is stricter.
func TestARestrictionGrantsItsLevelAndBelow(t *testing.T) {
	for _, r := range restrictions {
		for has, value := range r.levels {
			for needed, level := range r.levels {
				c := settings(restrictedKey, "true", r.key, value)
				if got := grants(c, Need{Key: r.key, Level: level}); got != (needed <= has) {
					t.Errorf("%s=%s grants %s: %v", r.key, value, level, got)
				}
				if !grants(settings(r.key, value), Need{Key: r.key, Level: level}) {
					t.Errorf("%s=%s refuses %s where nothing is restricted", r.key, value, level)
				}
			}
		}
		unset := settings(restrictedKey, "true")
		if !grants(unset, Need{Key: r.key, Level: r.normal}) || grants(unset, Need{Key: r.key, Level: r.levels[len(r.levels)-1]}) {
			t.Errorf("%s, where it is not set, does not mean %s", r.key, r.normal)
		}
	}
}

func TestWhatNoKeyGovernsIsRefused(t *testing.T) {
	c := settings(restrictedKey, "1")
	for _, r := range restrictions {
		c[r.key] = r.levels[len(r.levels)-1]
	}
	for _, n := range []Need{{}, {Key: "restricted.devices.unknown", Level: "allow"}, {Key: "restricted.snapshots", Level: "full"}, {Key: "restricted.snapshots"}} {
		if grants(c, n) {
			t.Errorf("%+v is granted", n)
		}
	}
}

func TestNetworksOfARestrictedProject(t *testing.T) {
	for _, tt := range []struct {
		nic, access string
		n           Need
		want        bool
	}{
		{"managed", "", NetworkNeed("br0", true), true},
		{"managed", "", NetworkNeed("eth0", false), false},
		{"allow", "", NetworkNeed("eth0", false), true},
		{"block", "", NetworkNeed("br0", true), false},
		{"managed", "br1, br0", NetworkNeed("br0", true), true},
		{"allow", "br1,br", NetworkNeed("br0", true), false},
		{"allow", "br1", NetworkNeed("eth0", false), false},
	} {
		if got := grants(settings(restrictedKey, "true", "restricted.devices.nic", tt.nic, accessKey, tt.access), tt.n); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// A restriction holds for what is made, for what there is when it is set, and for nothing once it is lifted.
func TestARestrictionIsInForceWhileItIsSet(t *testing.T) {
	w := newWorld(t)
	w.create("p", nil)
	nested := Need{Key: "restricted.containers.nesting", Level: "allow"}
	w.do(w.put("p", needing(nested)))
	w.fails(w.set("p", restrictedKey, "true"), http.StatusBadRequest, `Conflict detected when changing "restricted" in project "p": refused`)
	w.do(w.set("p", restrictedKey, "true", "restricted.containers.nesting", "allow"))
	w.fails(w.set("p", "restricted.containers.nesting", ""), http.StatusBadRequest, "Conflict detected")
	w.fails(w.put("p", needing(Need{Key: "restricted.snapshots", Level: "allow"})), http.StatusForbidden, "Failed checking if instance creation allowed: refused")
	w.fails(w.Allows("p", SnapshotNeed("p")), http.StatusForbidden, `Project "p" doesn't allow for snapshot creation`)
	w.fails(w.Allows("nope", SnapshotNeed("nope")), http.StatusNotFound, "Project not found")
	w.do(w.set("p", restrictedKey, "false"))
	w.do(w.put("p", needing(Need{})))
	w.fails(w.Patch(t.Context(), "p", api.ProjectPut{Config: settings("restricted.devices.nic", "some")}, false, anyVersion), http.StatusBadRequest, `"restricted.devices.nic"`)
}

// What has been admitted and is not in the store yet counts for who restricts the project.
func TestARestrictionSeesWhatIsBeingMade(t *testing.T) {
	w := newWorld(t)
	w.create("p", nil)
	release, err := w.Admit(t.Context(), "instance creation", "p", needing(Need{}))
	w.do(err)
	w.fails(w.set("p", restrictedKey, "true"), http.StatusBadRequest, "Conflict detected")
	release() // it came to nothing
	w.do(w.set("p", restrictedKey, "true"))
}
