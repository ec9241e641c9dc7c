package lxc

import (
	"context"
	"fmt"

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
	defer i.release()
	s.Pid = int64(i.pid)
	if d.network == nil {
		return s, nil
	}
	ns, err := i.namespace("net")
	if err != nil {
		return s, nil // it has just ended
	}
	defer func() { _ = ns.Close() }()
	network, err := d.network(ctx, ns, hostNames)
	if err != nil && alive(i.fd) {
		return nil, fmt.Errorf("network of the instance: %w", err)
	}
	if network != nil {
		s.Network = network
	}
	return s, nil
}
