package nic

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// hostEnd finds the host's end of the device, under whichever of its names it is; nil if there is none.
func (n *nicSpec) hostEnd(volatile map[string]string) (netlink.Link, error) {
	names := []string{n.cfg["host_name"], volatile["host_name"]}
	for salt := range maxSalt {
		names = append(names, n.name("veth", salt))
	}
	for _, name := range names {
		if name == "" || !exists(name) {
			continue
		}
		link, err := netlink.LinkByName(name)
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", name, err)
		}
		if link.Type() == "veth" && link.Attrs().Alias == n.alias() {
			return link, nil
		}
	}
	return nil, nil
}

// inside finds the end of the device that is in the namespace ns of the instance, in which h is a socket; nil if it is not there.
func (n *nicSpec) inside(ns netns.NsHandle, h *netlink.Handle, volatile map[string]string, alone bool) (netlink.Link, error) {
	if n.target.kind == macvlan {
		if _, there := n.wentInside(); !there {
			return nil, nil // what is on the parent is something else
		}
		all, err := n.macvlansIn(h)
		if err != nil || len(all) == 0 {
			return nil, err
		}
		return n.certain(all, alone)
	}
	host, err := n.hostEnd(volatile)
	if err != nil || host == nil {
		return nil, err
	}
	return peerIn(ns, h, host)
}

// peerIn gives the other end of a veth of the host, if that is in the namespace ns. A guest chooses the indexes of its own interfaces and of what
// they lead to: the host's end alone says in which namespace its other end is, and there an index is of one interface.
func peerIn(ns netns.NsHandle, h *netlink.Handle, host netlink.Link) (netlink.Link, error) {
	id, err := netlink.GetNetNsIdByFd(int(ns))
	if err != nil {
		return nil, fmt.Errorf("number of the instance's network namespace: %w", err)
	}
	if id < 0 || host.Attrs().NetNsID != id {
		return nil, nil // on the host, or in a namespace that the guest has made
	}
	link, err := h.LinkByIndex(host.Attrs().ParentIndex)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	}
	return link, err
}

// macvlansIn lists what is on the parent of a macvlan in the namespace that h is of. It can be more than the device: on a macvlan a guest can make
// others, which the kernel puts on the same parent.
func (n *nicSpec) macvlansIn(h *netlink.Handle) ([]netlink.Link, error) {
	parent, err := netlink.LinkByName(n.target.parent)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil // all that was on it has gone with it
	}
	if err != nil {
		return nil, err
	}
	own, err := netns.Get()
	if err != nil {
		return nil, err
	}
	defer own.Close()
	links, err := h.LinkList()
	if err != nil {
		return nil, err
	}
	// After the list, which gives a namespace its number if nobody has asked for one before. A guest may have a parent of that index in a namespace of its own.
	host, err := h.GetNetNsIdByFd(int(own))
	if err != nil {
		return nil, fmt.Errorf("number of the host's network namespace: %w", err)
	}
	if host < 0 {
		return nil, nil // nothing there leads to the host
	}
	return slices.DeleteFunc(links, func(link netlink.Link) bool {
		a := link.Attrs()
		return link.Type() != macvlan && link.Type() != "macvtap" || a.ParentIndex != parent.Attrs().Index || a.NetNsID != host
	}), nil
}

// certain picks the device out of what is on its parent: by its mark, or among those without one by being the only one or by its name. alone tells
// that no other device of the instance has that parent.
func (n *nicSpec) certain(all []netlink.Link, alone bool) (netlink.Link, error) {
	var unmarked, named []netlink.Link
	for _, link := range all {
		if link.Attrs().Alias == n.alias() {
			return link, nil
		}
		if owner(link) != "" && !alone {
			continue
		}
		unmarked = append(unmarked, link)
		if link.Attrs().Name == n.ifname {
			named = append(named, link)
		}
	}
	switch {
	case len(unmarked) == 0:
		return nil, nil
	case len(unmarked) == 1:
		return unmarked[0], nil
	case len(named) == 1:
		return named[0], nil
	case alone:
		return unmarked[0], nil // all of them go together
	}
	return nil, fmt.Errorf("%d interfaces on %s in the instance have lost their marks", len(unmarked), n.target.parent)
}

// siblingHas tells whether the device in the other slot has a name on the host.
func (n *nicSpec) siblingHas(name string) bool {
	link, err := netlink.LinkByName(name)
	return err == nil && link.Attrs().Alias == (&nicSpec{owner: sibling(n.owner)}).alias()
}

// takeHostName gives the host's end the name that the configuration asks for, after the device in the other slot had it.
func (n *nicSpec) takeHostName() error {
	name := n.cfg["host_name"]
	if name == "" || n.target.kind == macvlan {
		return nil
	}
	host, err := n.hostEnd(nil)
	if err != nil || host == nil || host.Attrs().Name == name {
		return err
	}
	return n.renameHost(host, name)
}

// renameHost renames a host's end. Kernels before 6.2 want it to be down for that, which takes its routes away.
func (n *nicSpec) renameHost(host netlink.Link, name string) error {
	err := netlink.LinkSetName(host, name)
	if errors.Is(err, unix.EBUSY) {
		if err = netlink.LinkSetDown(host); err == nil {
			err = errors.Join(netlink.LinkSetName(host, name), netlink.LinkSetUp(host))
		}
	}
	if err != nil {
		return fmt.Errorf("rename %s to %s: %w", host.Attrs().Name, name, err)
	}
	if n.target.kind == bridged || !hasRoutes(n.cfg) {
		return nil
	}
	return n.syncRoutes(host)
}
