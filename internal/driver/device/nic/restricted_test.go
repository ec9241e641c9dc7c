package nic

import (
	"slices"
	"testing"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
)

// TestKeysThatAreNotFree names the keys of a managed network's NIC that need a restricted project to allow any NIC: they reach the host. A key that
// is new and not called free in its table fails here.
func TestKeysThatAreNotFree(t *testing.T) {
	denied := map[string]bool{}
	for _, table := range Tables() {
		for _, k := range table.Keys() {
			if k.Restricted != config.Free {
				denied[k.Name] = true
			}
		}
	}
	for _, want := range []string{"gvrp", "host_name", "ipv4.routes", "ipv6.routes", "nictype", "parent", "vlan", "vlan.tagged"} {
		if !denied[want] {
			t.Errorf("%s is free", want)
		}
		delete(denied, want)
	}
	for key := range denied {
		t.Errorf("%s: is it free in a restricted project?", key)
	}
}

func TestNeeds(t *testing.T) {
	for _, tt := range []struct {
		cfg  device.Config
		want []device.Need
	}{
		{device.Config{"network": "br0", "name": "eth0"}, []device.Need{{Level: "managed", Network: "br0", Why: "Network devices are forbidden"}}},
		{device.Config{"nictype": "bridged", "parent": "br0"}, []device.Need{{Level: "managed", Why: "Network devices are forbidden"}, {Level: "allow", Network: "br0", Why: "Only managed network devices are allowed"}}},
	} {
		if needs := (&Module{}).Needs(tt.cfg); !slices.Equal(needs, tt.want) {
			t.Errorf("%v: %+v", tt.cfg, needs)
		}
	}
}
