package disk

import (
	"fmt"

	"github.com/berthd/berth/internal/device"
)

// Needs implements device.Restricted. What is on the host has to be where the project lets it be, as its path is written: that no link leads
// out of there is seen at the start.
func (m *Module) Needs(cfg device.Config) []device.Need {
	needs := []device.Need{{Level: "managed", Why: "Disk devices are forbidden"}}
	if cfg["pool"] != "" {
		return needs
	}
	needs = append(needs, device.Need{Level: "allow", Why: "Attaching disks not backed by a pool is forbidden"},
		device.Need{Level: "allow", Path: cfg["source"], Why: fmt.Sprintf("Disk source path %q not allowed", cfg["source"])})
	if passesMounts(cfg) {
		needs = append(needs, device.Need{Level: "allow", Anywhere: true, Why: fmt.Sprintf("propagation=%q is forbidden beneath certain paths", cfg["propagation"])})
	}
	return needs
}
