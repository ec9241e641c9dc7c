package server

import (
	"sync"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/instance"
	"github.com/berthd/berth/internal/network"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/serverconfig"
	"github.com/berthd/berth/internal/storage"
)

// metadataRoutes is /1.0/metadata/configuration: the configuration keys that there are, for completion and for whoever makes forms. Its
// shape is that of later LXD: {"configs": {ENTITY: {GROUP: {"keys": [{KEY: {…}}]}}}}.
func metadataRoutes(instances *instance.Service) []Route {
	all := sync.OnceValue(func() map[string]any { // few ask for it, and it never changes
		entities := map[string]any{
			"instance":       described(instance.Keys),
			"server":         described(serverconfig.Keys),
			"network-bridge": described(network.Keys()),
			"project":        described(project.Keys),
			"storage-dir":    described(storage.PoolKeys()),
			"storage-volume": described(storage.VolumeKeys()),
		}
		for name, table := range instances.DeviceKeys() {
			entities["device-"+name] = described(table)
		}
		return map[string]any{"configs": entities}
	})
	return []Route{{Method: "GET", Path: "/1.0/metadata/configuration", Need: AnyoneTrusted, Handle: func(*Request) Response { return Sync(all()) }}}
}

type keyGroup struct {
	Keys []map[string]describedKey `json:"keys"`
}

type describedKey struct {
	Type        string `json:"type"`
	DefaultDesc string `json:"defaultdesc"`
	ShortDesc   string `json:"shortdesc"`
	LiveUpdate  string `json:"liveupdate"`
	Condition   string `json:"condition,omitempty"`
	// Values are all there are; LXD has no such list.
	Values []string `json:"values,omitempty"`
}

func described(t *config.Table) map[string]keyGroup {
	keys := t.Keys()
	group := keyGroup{Keys: make([]map[string]describedKey, 0, len(keys))}
	for _, k := range keys {
		if !k.Settable() || k.Name == "type" { // what type a device is, its entity's name says
			continue
		}
		d := describedKey{Type: string(k.Type), DefaultDesc: k.Default, ShortDesc: k.Doc, LiveUpdate: "no", Condition: k.Condition, Values: k.Values}
		if d.Type == "" {
			d.Type = string(config.String)
		}
		if k.Live {
			d.LiveUpdate = "yes"
		}
		group.Keys = append(group.Keys, map[string]describedKey{k.Name: d})
	}
	return map[string]keyGroup{"all": group}
}
