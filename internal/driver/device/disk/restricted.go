package disk

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/berthd/berth/internal/device"
)

// free are the keys of a volume's disk that there may be in a restricted project. Others need the project to allow any disk, new ones too
// until they are named here.
var free = []string{"type", "path", "source", "pool", "size", "readonly", "required", "optional", "boot.priority"}

// Needs implements device.Restricted. The root disk is free: an instance cannot be without.
func (m *Module) Needs(cfg device.Config) []device.Need {
	var needs []device.Need
	switch {
	case isRoot(cfg):
	case cfg["pool"] != "":
		needs = append(needs, device.Need{Level: "managed", Why: "Disk devices are forbidden"})
	default:
		return []device.Need{{Level: "managed", Why: "Disk devices are forbidden"}, {Level: "allow", Why: "Attaching disks not backed by a pool is forbidden"}}
	}
	for _, key := range slices.Sorted(maps.Keys(cfg)) {
		if cfg[key] != "" && !slices.Contains(free, key) && !strings.HasPrefix(key, "user.") {
			needs = append(needs, device.Need{Level: "allow", Why: fmt.Sprintf("Key %q is forbidden", key)})
		}
	}
	return needs
}
