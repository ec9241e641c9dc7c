package lxc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/bounded"
)

// networkTime bounds the wait for what the kernel says of an instance's interfaces: it has one lock for all changes of interfaces, and
// guests make those at will. It is shorter than what callers wait for an instance, which is shown without its interfaces then.
const networkTime = 500 * time.Millisecond

// interfaces reads those of an instance that runs; nil: they are not known.
func (d *Driver) interfaces(ctx context.Context, id string, c *container, hostNames map[string]string) (map[string]api.InstanceStateNetwork, error) {
	if d.network == nil {
		return nil, nil
	}
	state, err := bounded.Do(ctx, &d.networks, id, networkTime, func() (map[string]api.InstanceStateNetwork, error) {
		i := c.hold()
		if i == nil {
			return nil, nil
		}
		defer i.release()
		ns, err := i.namespace("net")
		if err != nil {
			return nil, nil // it has just ended
		}
		defer func() { _ = ns.Close() }()
		state, err := d.network(ctx, ns, hostNames)
		if err != nil && !alive(i.fd) {
			return nil, nil
		}
		return state, err
	})
	if errors.Is(err, bounded.ErrHung) {
		d.log.Debug("The interfaces of an instance are not known", "instance", id, "err", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("network of the instance: %w", err)
	}
	return state, nil
}
