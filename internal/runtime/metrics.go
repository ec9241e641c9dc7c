package runtime

import (
	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/cgroup"
)

// Metrics are the figures of a running instance, as monitoring reads them again and again. What the host does not count is empty, or zero.
type Metrics struct {
	CPUs []cgroup.CPUTime
	// EffectiveCPUs is how many CPUs it may use; 0 where nothing says.
	EffectiveCPUs int
	Disks         []cgroup.DiskIO
	Memory        cgroup.MemoryStat
	// MemoryUsage and MemoryTotal are in bytes; the total is its limit, or what the host has.
	MemoryUsage, MemoryTotal int64
	Networks                 map[string]api.InstanceStateNetwork // by the name inside, without addresses
	Processes                int64
}
