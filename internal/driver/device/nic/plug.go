package nic

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
)

// Plug moves the interface that Start made into the running instance.
func (m *Module) Plug(_ context.Context, run device.Running, _ device.Instance, _ string, _ device.Config, c device.Contribution) error {
	for _, n := range c.NICs {
		if err := move(run, n.HostName, n.Name); err != nil {
			return fmt.Errorf("plug %s: %w", n.Name, err)
		}
	}
	return nil
}

// move gives an interface to the instance and brings it up there under its name.
func move(run device.Running, name, inside string) error {
	return networkOf(run, func(ns netns.NsHandle, h *netlink.Handle) error {
		if _, err := h.LinkByName(inside); err == nil {
			return fmt.Errorf("the instance has an interface %q already", inside)
		}
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetNsFd(link, int(ns)); err != nil {
			return err
		}
		if link, err = h.LinkByName(name); err != nil {
			return err
		}
		if err := h.LinkSetName(link, inside); err != nil {
			return err
		}
		return h.LinkSetUp(link)
	})
}

// Unplug takes the interface out of the running instance. A veth pair goes with its host's end.
func (m *Module) Unplug(_ context.Context, run device.Running, inst device.Instance, name string, cfg device.Config, volatile map[string]string) error {
	if cfg["nictype"] == macvlan {
		return removeInside(run, first("name", cfg, volatile))
	}
	t, err := m.resolve(inst.Project, cfg)
	if err != nil {
		t = target{kind: cfg["nictype"], parent: cfg["parent"]}
	}
	n := nicSpec{owner: ownerOf(inst, name), target: t, cfg: cfg}
	return n.destroy(volatile["host_name"])
}

func removeInside(run device.Running, name string) error {
	return networkOf(run, func(_ netns.NsHandle, h *netlink.Handle) error {
		link, err := h.LinkByName(name)
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			return nil
		}
		if err != nil {
			return err
		}
		return h.LinkDel(link)
	})
}

// networkOf gives the network namespace of an instance, and a socket in it.
func networkOf(run device.Running, do func(netns.NsHandle, *netlink.Handle) error) error {
	held, err := run.NetworkNamespace()
	if err != nil {
		return err
	}
	defer func() { _ = held.Close() }()
	ns := netns.NsHandle(held.Fd())
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	return do(ns, h)
}

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
	host, err := netlink.LinkByName(volatile["host_name"])
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
	n := nicSpec{owner: ownerOf(inst, name), target: t, cfg: new}
	return n.syncRoutes(host, old)
}

func changed(old, new device.Config, keys ...string) bool {
	for _, key := range keys {
		if old[key] != new[key] {
			return true
		}
	}
	return false
}
