package nic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/device"
)

// spec is a device that is there already, as it was started.
func (m *Module) spec(inst device.Instance, name string, cfg device.Config, volatile map[string]string) *nicSpec {
	t, err := m.resolve(inst.Project, cfg)
	if err != nil {
		t = target{kind: cfg["nictype"], parent: cfg["parent"]} // the network is gone; the interface may not be
	}
	return &nicSpec{owner: ownerOf(inst, name), routes: routesOf(inst, name), target: t, cfg: cfg, ifname: first("name", cfg, volatile)}
}

// Plug moves the interface that Start made into the running instance.
func (m *Module) Plug(_ context.Context, run device.Running, inst device.Instance, name string, cfg device.Config, c device.Contribution) error {
	if err := m.spec(inst, name, cfg, c.Volatile).takeHostName(); err != nil {
		return err
	}
	for _, n := range c.NICs {
		if err := networkOf(run, func(ns netns.NsHandle, h *netlink.Handle) error { return moveIn(ns, h, n.HostName, n.Name) }); err != nil {
			return fmt.Errorf("plug %s: %w", n.Name, err)
		}
	}
	return nil
}

// moveIn gives an interface to a network namespace and brings it up there under its name.
func moveIn(ns netns.NsHandle, h *netlink.Handle, name, inside string) error {
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
}

// Look implements device.HotPlugger: an interface loses its addresses and routes when it leaves a namespace.
func (m *Module) Look(_ context.Context, run device.Running, inst device.Instance, name string, cfg device.Config,
	volatile map[string]string,
) (json.RawMessage, error) {
	n := m.spec(inst, name, cfg, volatile)
	var is *seen
	err := networkOf(run, func(_ netns.NsHandle, h *netlink.Handle) error {
		link, err := n.inside(h, volatile)
		if err != nil || link == nil {
			return err
		}
		is, err = look(h, link)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("interface of device %q: %w", name, err)
	}
	return json.Marshal(is)
}

// Unplug moves the interface out of the running instance, to the name under which Start made it.
func (m *Module) Unplug(_ context.Context, run device.Running, inst device.Instance, name string, cfg device.Config, volatile map[string]string) error {
	n := m.spec(inst, name, cfg, volatile)
	err := networkOf(run, func(_ netns.NsHandle, h *netlink.Handle) error {
		link, err := n.inside(h, volatile)
		if err != nil || link == nil {
			return err
		}
		return moveOut(h, link, n.guestName())
	})
	if err != nil {
		return fmt.Errorf("unplug %s: %w", n.ifname, err)
	}
	if n.target.kind == macvlan {
		return n.markAgain()
	}
	return n.leaveHostName(volatile)
}

// markAgain puts the mark on a macvlan that is back on the host: inside it was the guest's to change.
func (n *nicSpec) markAgain() error {
	link, err := netlink.LinkByName(n.guestName())
	if errors.As(err, new(netlink.LinkNotFoundError)) || err == nil && link.Type() != macvlan {
		return nil
	}
	if err == nil {
		err = netlink.LinkSetAlias(link, n.alias())
	}
	return err
}

// moveOut gives an interface back to the daemon's own network namespace. Other names that the guest has given it (ip-link(8), altname) do
// not go along: one that the host has already would keep the interface inside.
func moveOut(h *netlink.Handle, link netlink.Link, name string) error {
	own, err := netns.Get()
	if err != nil {
		return err
	}
	defer own.Close()
	if err := h.LinkSetDown(link); err != nil {
		return err
	}
	if err := h.LinkSetName(link, name); err != nil {
		return err
	}
	for tries := 1; ; tries++ {
		for _, other := range link.Attrs().AltNames {
			if err := h.LinkDelAltName(link, other); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
		err := h.LinkSetNsFd(link, int(own))
		if !errors.Is(err, unix.EEXIST) || tries == maxTries {
			return err
		}
		if link, err = h.LinkByIndex(link.Attrs().Index); err != nil { // it has been given another meanwhile
			return err
		}
	}
}

// maxTries bounds how often a guest may be faster.
const maxTries = 10

// Replug implements device.HotPlugger.
func (m *Module) Replug(_ context.Context, run device.Running, inst device.Instance, name string, cfg device.Config,
	volatile map[string]string, before json.RawMessage,
) error {
	var was *seen
	if err := json.Unmarshal(before, &was); err != nil || was == nil {
		return err
	}
	n := m.spec(inst, name, cfg, volatile)
	if err := n.takeHostName(); err != nil {
		return err
	}
	err := networkOf(run, func(ns netns.NsHandle, h *netlink.Handle) error {
		link, err := n.inside(h, volatile)
		if err != nil {
			return err
		}
		if link == nil {
			if err := moveIn(ns, h, n.guestName(), was.Name); err != nil {
				return err
			}
		} else if link.Attrs().Name != was.Name { // on its way out when the daemon ended
			if err := errors.Join(h.LinkSetDown(link), h.LinkSetName(link, was.Name)); err != nil {
				return err
			}
		}
		return was.bringBack(h)
	})
	if err != nil {
		return fmt.Errorf("replug %s: %w", was.Name, err)
	}
	return n.routesAgain(volatile)
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
