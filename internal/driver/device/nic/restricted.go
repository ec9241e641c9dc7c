package nic

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/berthd/berth/internal/device"
)

// free are the keys that a NIC of a managed network may have in a restricted project. Others reach the host, such as its routes and the names of
// its interfaces: they need the project to allow any NIC, new ones too until they are named here.
var free = []string{"type", "network", "name", "hwaddr", "mtu", "boot.priority", "ipv4.address", "ipv6.address", "limits.ingress", "limits.egress", "limits.max",
	"security.mac_filtering", "security.ipv4_filtering", "security.ipv6_filtering", "security.port_isolation"}

// Needs implements device.Restricted.
func (m *Module) Needs(cfg device.Config) []device.Need {
	needs := []device.Need{{Level: "managed", Network: cfg["network"], Why: "Network devices are forbidden"}}
	if cfg["network"] == "" {
		return append(needs, device.Need{Level: "allow", Network: cfg["parent"], Why: "Only managed network devices are allowed"})
	}
	for _, key := range slices.Sorted(maps.Keys(cfg)) {
		if cfg[key] != "" && !slices.Contains(free, key) && !strings.HasPrefix(key, "user.") {
			needs = append(needs, device.Need{Level: "allow", Why: fmt.Sprintf("Key %q is forbidden", key)})
		}
	}
	return needs
}
