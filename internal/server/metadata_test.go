package server

import (
	"encoding/json"
	"testing"
)

func TestEveryKeyOfTheTablesIsDescribed(t *testing.T) {
	s := testServer(t, root)
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
		"storage-dir":    {"volume.size", describedKey{Type: "size", LiveUpdate: "yes"}},
		"storage-volume": {"security.shifted", describedKey{Type: "bool", LiveUpdate: "no"}},
	} {
		found := false
		for _, k := range got.Configs[entity]["all"].Keys {
			if d, ok := k[want.key]; ok {
				found = d.Type == want.d.Type && d.ShortDesc != ""
			}
		}
		if !found {
			t.Errorf("%s: no %s, or not as it is: %v", entity, want.key, got.Configs[entity]["all"].Keys)
		}
	}
}
