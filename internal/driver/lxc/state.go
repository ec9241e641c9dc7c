package lxc

import (
	"context"

	"github.com/berthd/berth/api"
)

// State implements instance.Runtime.
func (d *Driver) State(ctx context.Context, id string, hostNames map[string]string) (*api.InstanceState, error) {
	c := d.get(id)
	status := d.Status(id)
	if c == nil || status == api.Stopped {
		return nil, errNotRunning
	}
	s := &api.InstanceState{
		Status: status.String(), StatusCode: status, Processes: -1,
		Disk: map[string]api.InstanceStateDisk{}, Network: map[string]api.InstanceStateNetwork{},
	}
	group := d.payload(id)
	// What the host does not count stays zero: a state without one figure is of more use than none.
	if n, err := group.CPU(); err == nil {
		s.CPU.Usage = n
	}
	if m, err := group.Memory(); err == nil {
		s.Memory = api.InstanceStateMemory{Usage: m.Usage, UsagePeak: m.Peak, SwapUsage: m.Swap, SwapUsagePeak: m.SwapPeak}
	}
	if n, err := group.Pids(); err == nil {
		s.Processes = n
	}
	i := c.hold()
	if i == nil {
		return s, nil // between two runs of a restart from inside
	}
	s.Pid = int64(i.pid)
	i.release()
	network, err := d.interfaces(ctx, id, c, hostNames)
	if network != nil {
		s.Network = network
	}
	return s, err
}
