package lxc

import (
	"context"

	"github.com/berthd/berth/internal/hostinfo"
	"github.com/berthd/berth/internal/runtime"
)

// Metrics implements instance.Meter. What the host does not count is left out.
func (d *Driver) Metrics(ctx context.Context, id string) (*runtime.Metrics, error) {
	c := d.get(id)
	if c == nil {
		return nil, errNotRunning
	}
	m := &runtime.Metrics{}
	group := d.payload(id)
	m.CPUs, _ = group.CPUTimes()
	m.EffectiveCPUs = len(hostinfo.ParseCPUList(group.EffectiveCPUs()))
	m.Disks, _ = group.DiskIO()
	m.Memory, _ = group.MemoryStat()
	if used, err := group.Memory(); err == nil {
		m.MemoryUsage = used.Usage
	}
	m.MemoryTotal = hostinfo.MemoryTotal()
	if limit := group.MemoryLimit(); limit >= 0 {
		m.MemoryTotal = min(m.MemoryTotal, limit)
	}
	m.Processes, _ = group.Pids()
	var err error
	m.Networks, err = d.interfaces(ctx, id, c, nil)
	return m, err
}
