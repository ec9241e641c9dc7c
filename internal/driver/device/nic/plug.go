package nic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
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
	return &nicSpec{owner: ownerOf(inst, name), routes: routesOf(inst, name), file: macvlanFile(inst, name), target: t, cfg: cfg, ifname: first("name", cfg, volatile)}
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

// moveIn gives an interface to a network namespace and brings it up there under its name, all in one step: between two, a guest could take the name
// that it has on its way, or the interface.
func moveIn(ns netns.NsHandle, h *netlink.Handle, name, inside string) error {
	if _, err := h.LinkByName(inside); err == nil {
		return fmt.Errorf("the instance has an interface %q already", inside)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Flags, msg.Change = int32(link.Attrs().Index), unix.IFF_UP, unix.IFF_UP
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(ns))))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(inside)))
	_, err = req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// Look implements device.HotPlugger: an interface loses its addresses and routes when it leaves a namespace.
func (m *Module) Look(_ context.Context, run device.Running, inst device.Instance, name string, cfg device.Config,
	volatile map[string]string,
) (json.RawMessage, error) {
	n := m.spec(inst, name, cfg, volatile)
	var is *seen
	err := networkOf(run, func(ns netns.NsHandle, h *netlink.Handle) error {
		link, err := n.inside(ns, h, volatile, m.onParent(inst, name, n.target) == 0)
		if err != nil {
			return err
		}
		if link == nil {
			is, err = n.elsewhere(volatile)
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

// elsewhere is what is seen of an interface that the guest has moved on, to a namespace of its own; nil if there is none.
func (n *nicSpec) elsewhere(volatile map[string]string) (*seen, error) {
	if n.target.kind == macvlan {
		if _, inside := n.wentInside(); !inside {
			return nil, nil
		}
		return &seen{Name: n.ifname, Up: true}, nil
	}
	host, err := n.hostEnd(volatile)
	if err != nil || host == nil || host.Attrs().NetNsID < 0 {
		return nil, err
	}
	return &seen{Name: n.ifname, Up: true}, nil
}

// Unplug removes the interface: nothing that a guest has is ever moved onto the host, where it would be past all that keeps it in. Of a veth the host's
// end goes, and the other with it, wherever it is; a macvlan is looked for. Replug makes it anew.
func (m *Module) Unplug(ctx context.Context, run device.Running, inst device.Instance, name string, cfg device.Config, volatile map[string]string) error {
	n := m.spec(inst, name, cfg, volatile)
	var err error
	if n.target.kind == macvlan {
		n.hwaddr, _ = net.ParseMAC(first("hwaddr", cfg, volatile))
		err = n.removeMacvlan(ctx, run, m.near(inst, name, n.target))
	} else {
		err = n.removePair(volatile)
	}
	if err != nil {
		return fmt.Errorf("unplug %s: %w", n.ifname, err)
	}
	return nil
}

// removePair removes a veth by its end on the host.
func (n *nicSpec) removePair(volatile map[string]string) error {
	host, err := n.hostEnd(volatile)
	if err != nil || host == nil {
		return err
	}
	if err := netlink.LinkDel(host); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove interface %s: %w", host.Attrs().Name, err)
	}
	return nil
}

// Replug implements device.HotPlugger.
func (m *Module) Replug(_ context.Context, run device.Running, inst device.Instance, name string, cfg device.Config,
	volatile map[string]string, before json.RawMessage,
) error {
	var was *seen
	if err := json.Unmarshal(before, &was); err != nil || was == nil {
		return err
	}
	n := m.spec(inst, name, cfg, volatile)
	var err error
	if n.hwaddr, err = net.ParseMAC(first("hwaddr", cfg, volatile)); err != nil {
		return fmt.Errorf("hardware address of device %q: %w", name, err)
	}
	if err := n.takeHostName(); err != nil {
		return err
	}
	err = networkOf(run, func(ns netns.NsHandle, h *netlink.Handle) error {
		link, err := n.inside(ns, h, volatile, m.onParent(inst, name, n.target) == 0)
		if err != nil {
			return err
		}
		if link == nil {
			there, err := n.elsewhere(volatile)
			if err != nil || there != nil { // it was never unplugged
				return err
			}
			if link, err = n.plugAnew(ns, h, was.Name); err != nil {
				return err
			}
		} else if link.Attrs().Name != was.Name { // which a guest can do, too
			if err := errors.Join(h.LinkSetDown(link), h.LinkSetName(link, was.Name)); err != nil { // and give its name to another
				slog.Warn("An interface does not have the name that it had", "interface", was.Name, "err", err)
			}
		}
		return was.bringBack(h, link, n.hwaddr)
	})
	if err != nil {
		return fmt.Errorf("replug %s: %w", was.Name, err)
	}
	return n.routesAgain(volatile)
}

// plugAnew makes an interface that was removed once more, in the place of what an attempt that was cut off has left of it. Where the guest has given
// its name to another meanwhile, it keeps the one that it has on its way.
func (n *nicSpec) plugAnew(ns netns.NsHandle, h *netlink.Handle, name string) (netlink.Link, error) {
	_, guest, err := n.create()
	if err != nil {
		return nil, err
	}
	if _, err := h.LinkByName(name); err == nil {
		slog.Warn("An interface does not have the name that it had, which another has", "interface", name, "now", guest)
		name = guest
	}
	if err := moveIn(ns, h, guest, name); err != nil {
		return nil, err
	}
	return h.LinkByName(name)
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
