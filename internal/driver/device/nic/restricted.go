package nic

import "github.com/berthd/berth/internal/device"

// Needs implements device.Restricted. Which keys a NIC of a managed network may have its tables say: others reach the host, such as its routes
// and the names of its interfaces.
func (m *Module) Needs(cfg device.Config) []device.Need {
	needs := []device.Need{{Level: "managed", Network: cfg["network"], Why: "Network devices are forbidden"}}
	if cfg["network"] == "" {
		return append(needs, device.Need{Level: "allow", Network: cfg["parent"], Why: "Only managed network devices are allowed"})
	}
	return needs
}
