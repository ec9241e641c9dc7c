package cli

import (
	"bytes"
	"testing"

	"github.com/berthd/berth/api"
)

func TestFindNIC(t *testing.T) {
	devices := map[string]map[string]string{
		"a": {"type": "nic", "network": "br0"},
		"b": {"type": "nic", "nictype": "bridged", "parent": "br1"},
		"c": {"type": "nic", "network": "br1"},
		"d": {"type": "disk", "network": "br2"},
	}
	for _, test := range []struct{ network, wanted, name, err string }{
		{"br0", "", "a", ""},
		{"br1", "", "", "More than one device matches, specify the device name"},
		{"br1", "b", "b", ""},
		{"br1", "a", "", "The specified device doesn't match the network"},
		{"br1", "x", "", "The specified device doesn't exist"},
		{"br2", "", "", "No device found for this network"},
	} {
		name, err := findNIC(devices, test.network, test.wanted)
		if name != test.name || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%+v: got %q %v", test, name, err)
		}
	}
}

// The layout is that of lxc 5.0.2.
func TestNetworkInfo(t *testing.T) {
	var out bytes.Buffer
	c := &App{Out: &out}
	c.printNetworkState("br0", &api.NetworkState{
		Addresses: []api.NetworkStateAddress{{Family: "inet", Address: "10.0.0.1", Netmask: "24", Scope: "global"}},
		Hwaddr:    "00:16:3e:11:69:cb", Mtu: 1500, State: "up", Type: "broadcast",
		Bridge: &api.NetworkStateBridge{ID: "8000.00163e1169cb", ForwardDelay: 1500},
	})
	want := `Name: br0
MAC address: 00:16:3e:11:69:cb
MTU: 1500
State: up
Type: broadcast

IP addresses:
  inet	10.0.0.1/24 (global)

Network usage:
  Bytes received: 0B
  Bytes sent: 0B
  Packets received: 0
  Packets sent: 0

Bridge:
  ID: 8000.00163e1169cb
  STP: false
  Forward delay: 1500
  Default VLAN ID: 0
  VLAN filtering: false
  Upper devices: ` + "\n"
	if out.String() != want {
		t.Errorf("got:\n%s", out.String())
	}
}
