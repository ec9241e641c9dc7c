package server

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/driver/device/disk"
	"github.com/berthd/berth/internal/driver/device/nic"
	"github.com/berthd/berth/internal/driver/device/none"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/instance"
	"github.com/berthd/berth/internal/operation"
)

func TestEveryKeyOfTheTablesIsDescribed(t *testing.T) {
	modules := map[string]device.Module{"disk": &disk.Module{}, "nic": nic.New(nil), "none": none.Module{}}
	hub := event.NewHub()
	defer hub.Close()
	s := New(Services{Operations: operation.NewManager(hub), Events: hub, Instances: &instance.Service{Deps: instance.Deps{Modules: modules}}}, root)
	status, _, env := call(t, s, "GET", "/1.0/metadata/configuration", "")
	var got struct {
		Configs map[string]map[string]struct{ Keys []map[string]describedKey }
	}
	if err := json.Unmarshal(env.Metadata, &got); status != 200 || err != nil {
		t.Fatal(status, err)
	}
	for entity, want := range map[string]struct {
		key string
		d   describedKey
	}{
		"instance":       {"boot.autostart", describedKey{Type: "bool", LiveUpdate: "yes"}},
		"server":         {"core.https_address", describedKey{Type: "string", LiveUpdate: "yes"}},
		"network-bridge": {"ipv4.nat", describedKey{Type: "bool", LiveUpdate: "yes"}},
		"project":        {"restricted.devices.disk", describedKey{Type: "string", Values: []string{"block", "managed", "allow"}}},
		"storage-dir":    {"volume.size", describedKey{Type: "size", LiveUpdate: "yes"}},
		"storage-volume": {"security.shifted", describedKey{Type: "bool", LiveUpdate: "no"}},
		"device-disk": {"propagation", describedKey{Type: "string", Values: []string{
			"private", "shared", "slave", "unbindable", "rprivate", "rshared", "rslave", "runbindable"}}},
		"device-nic-bridged": {"nictype", describedKey{Type: "string", Values: []string{"bridged", "macvlan", "p2p"}}},
		"device-nic-macvlan": {"parent", describedKey{Type: "string"}},
		"device-nic-p2p":     {"ipv4.routes", describedKey{Type: "string"}},
		"device-none":        {"user.*", describedKey{Type: "string"}},
	} {
		found := false
		for _, k := range got.Configs[entity]["all"].Keys {
			if d, ok := k[want.key]; ok {
				found = d.Type == want.d.Type && d.ShortDesc != "" && slices.Equal(d.Values, want.d.Values)
			}
		}
		if !found {
			t.Errorf("%s: no %s, or not as it is: %v", entity, want.key, got.Configs[entity]["all"].Keys)
		}
	}
}
