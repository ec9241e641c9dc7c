package nic

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// guestName is the name on the host of the end that is to be moved inside.
func (n *nicSpec) guestName() string {
	if n.target.kind == macvlan {
		return n.name("mac", 0)
	}
	return n.name("berth", 0)
}

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
		if link.Attrs().Alias == n.alias() {
			return link, nil
		}
	}
	return nil, nil
}

// inside finds the end of the device that is in the instance whose namespace h is of; nil if it is not there. A guest can
// rename it, but not change what it is the other end of.
func (n *nicSpec) inside(h *netlink.Handle, volatile map[string]string) (netlink.Link, error) {
	if n.target.kind == macvlan {
		return n.macvlanInside(h)
	}
	host, err := n.hostEnd(volatile)
	if err != nil || host == nil || host.Attrs().NetNsID < 0 { // the other end is on the host, too
		return nil, err
	}
	link, err := h.LinkByIndex(host.Attrs().ParentIndex)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil // the guest has moved it on, to a namespace of its own
	}
	if err != nil {
		return nil, err
	}
	if link.Type() != host.Type() || link.Attrs().ParentIndex != host.Attrs().Index {
		return nil, nil
	}
	return link, nil
}

// macvlanInside finds the macvlan of the device by what it is on, and among several by its alias or name.
func (n *nicSpec) macvlanInside(h *netlink.Handle) (netlink.Link, error) {
	parent, err := netlink.LinkByName(n.target.parent)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil // all that was on it has gone with it
	}
	if err != nil {
		return nil, err
	}
	links, err := h.LinkList()
	if err != nil {
		return nil, err
	}
	var all, named []netlink.Link
	for _, link := range links {
		a := link.Attrs()
		if link.Type() != macvlan || a.ParentIndex != parent.Attrs().Index || a.NetNsID < 0 {
			continue
		}
		if a.Alias == n.alias() {
			return link, nil
		}
		if other := owner(link); other != "" {
			continue
		}
		all = append(all, link)
		if a.Name == n.ifname {
			named = append(named, link)
		}
	}
	switch {
	case len(all) == 0:
		return nil, nil
	case len(all) == 1:
		return all[0], nil
	case len(named) == 1:
		return named[0], nil
	}
	return nil, fmt.Errorf("%d interfaces on %s in the instance have lost their marks", len(all), n.target.parent)
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

// leaveHostName gives the host's end a name of its own in the place of one that the configuration asks for.
func (n *nicSpec) leaveHostName(volatile map[string]string) error {
	if n.cfg["host_name"] == "" || n.target.kind == macvlan {
		return nil
	}
	host, err := n.hostEnd(volatile)
	if err != nil || host == nil || host.Attrs().Name != n.cfg["host_name"] {
		return err
	}
	for salt := range maxSalt {
		if name := n.name("veth", salt); !exists(name) {
			return n.renameHost(host, name)
		}
	}
	return fmt.Errorf("no free name for the host's end of %s", n.owner)
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
