package nic

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
)

// LiveKeys implements device.Updater.
func (m *Module) LiveKeys() []string {
	return []string{"limits.ingress", "limits.egress", "limits.max", "ipv4.routes", "ipv6.routes", "ipv4.address", "ipv6.address",
		"security.port_isolation"}
}

// Update implements device.Updater.
func (m *Module) Update(ctx context.Context, _ device.Running, inst device.Instance, name string, old, new device.Config, volatile map[string]string) error {
	t, err := m.resolve(inst.Project, new)
	if err != nil {
		return err
	}
	if err := m.reserve(ctx, inst, name, new, volatile, t); err != nil {
		return err
	}
	if t.kind == macvlan {
		return nil
	}
	n := m.spec(inst, name, new, volatile)
	host, err := n.hostEnd(volatile)
	if err == nil && host == nil {
		err = errors.New("it is not there")
	}
	if err != nil {
		return fmt.Errorf("host's end of device %q: %w", name, err)
	}
	if changed(old, new, "limits.ingress", "limits.egress", "limits.max") {
		if err := setLimits(host, new); err != nil {
			return err
		}
	}
	if t.kind == bridged && changed(old, new, "security.port_isolation") {
		if err := netlink.LinkSetIsolated(host, config.IsTrue(new["security.port_isolation"])); err != nil {
			return fmt.Errorf("isolate port: %w", err)
		}
	}
	if !changed(old, new, "ipv4.routes", "ipv6.routes") {
		return nil
	}
	return n.syncRoutes(host)
}

func changed(old, new device.Config, keys ...string) bool {
	for _, key := range keys {
		if old[key] != new[key] {
			return true
		}
	}
	return false
}
