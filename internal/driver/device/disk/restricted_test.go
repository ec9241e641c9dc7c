package disk

import (
	"slices"
	"testing"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
)

// TestKeysThatAreNotFree names the keys of a volume's disk, or of the root disk, that need a restricted project to allow any disk. A key that is new
// and not called free in its table fails here: it is one that somebody has to have thought about.
func TestKeysThatAreNotFree(t *testing.T) {
	var denied []string
	for _, k := range Keys.Keys() {
		if k.Restricted != config.Free {
			denied = append(denied, k.Name)
		}
	}
	slices.Sort(denied)
	want := []string{"ceph.cluster_name", "ceph.user_name", "limits.max", "limits.read", "limits.write", "propagation", "raw.mount.options", "recursive", "shift", "size.state"}
	if !slices.Equal(denied, want) {
		t.Errorf("%q", denied)
	}
}

func TestNeeds(t *testing.T) {
	m := &Module{}
	for cfg, want := range map[string][]device.Need{
		"pool=default source=v path=/d":           {{Level: "managed"}},
		"source=/srv path=/d":                     {{Level: "managed"}, {Level: "allow"}, {Level: "allow", Path: "/srv"}},
		"source=/srv path=/d propagation=private": {{Level: "managed"}, {Level: "allow"}, {Level: "allow", Path: "/srv"}},
		"source=/srv path=/d propagation=rshared": {{Level: "managed"}, {Level: "allow"}, {Level: "allow", Path: "/srv"}, {Level: "allow", Anywhere: true}},
	} {
		needs := m.Needs(parse(cfg))
		for n := range needs {
			if needs[n].Why == "" {
				t.Errorf("%s: no reason", cfg)
			}
			needs[n].Why = ""
		}
		if !slices.Equal(needs, want) {
			t.Errorf("%s: %+v", cfg, needs)
		}
	}
}
