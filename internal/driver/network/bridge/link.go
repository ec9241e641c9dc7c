package bridge

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink"
)

// ErrForeign is wrapped by the error about an interface that has the network's name but was not made for it.
var ErrForeign = errors.New("the interface is not this network's")

// alias marks the interface and the rules that belong to a network.
func alias(id string) string { return "berth:" + id }

// tempName is the name under which a network's bridge is made. It follows from the identity, so that what a kill leaves
// under it can only be this network's.
func tempName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "berthbr" + hex.EncodeToString(sum[:4])
}

// findLink returns the bridge of a network, or nil if there is none. One of its name without an alias is taken for it only
// where adopt allows that.
func findLink(name, id string, adopt bool) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bridge %s: %w", name, err)
	}
	a := link.Attrs()
	switch {
	case a.Name != name:
		return nil, fmt.Errorf("%w: %q is another name of interface %s", ErrForeign, name, a.Name)
	case link.Type() != "bridge":
		return nil, fmt.Errorf("%w: interface %s exists and is no bridge but a %s", ErrForeign, name, link.Type())
	case a.Alias == alias(id) || adopt && a.Alias == "":
		return link, nil
	}
	return nil, fmt.Errorf("%w: a bridge %s exists (alias %q); remove it, or give it another name", ErrForeign, name, a.Alias)
}

// makeLink makes the bridge, marks it and only then gives it its name.
func makeLink(c Config) (netlink.Link, error) {
	temp := tempName(c.ID)
	if err := removeTemp(c.ID); err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = temp, c.HWAddr
	br := &netlink.Bridge{LinkAttrs: attrs}
	err := netlink.LinkAdd(br)
	if err != nil {
		return nil, fmt.Errorf("bridge %s: create: %w", c.Name, err)
	}
	if err = netlink.LinkSetAlias(br, alias(c.ID)); err == nil {
		err = linkMade.Hit()
	}
	if err == nil {
		err = netlink.LinkSetName(br, c.Name)
	}
	if err != nil {
		if errors.Is(err, syscall.EEXIST) {
			err = fmt.Errorf("%w: %w", ErrForeign, err)
		}
		return nil, errors.Join(fmt.Errorf("bridge %s: create: %w", c.Name, err), removeTemp(c.ID))
	}
	return findLink(c.Name, c.ID, false)
}

// removeTemp removes what a creation that was cut off has left.
func removeTemp(id string) error {
	name := tempName(id)
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil && link.Attrs().Name == name {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}

func ensureLink(c Config) (netlink.Link, error) {
	link, err := findLink(c.Name, c.ID, c.Adopt)
	if err == nil && link == nil {
		link, err = makeLink(c)
	}
	if err != nil {
		return nil, err
	}
	if link.Attrs().Alias == "" {
		if err := netlink.LinkSetAlias(link, alias(c.ID)); err != nil {
			return nil, fmt.Errorf("bridge %s: set alias: %w", c.Name, err)
		}
	}
	if len(c.HWAddr) > 0 && link.Attrs().HardwareAddr.String() != c.HWAddr.String() {
		if err := netlink.LinkSetHardwareAddr(link, c.HWAddr); err != nil {
			return nil, fmt.Errorf("bridge %s: set hardware address %s: %w", c.Name, c.HWAddr, err)
		}
	}
	mtu := c.MTU
	if mtu == 0 {
		mtu = defaultMTU
	}
	if link.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return nil, fmt.Errorf("bridge %s: set mtu %d: %w", c.Name, mtu, err)
		}
	}
	return link, nil
}

// removeLink removes a network's bridge. One that is another's stays.
func removeLink(name, id string) error {
	if err := removeTemp(id); err != nil {
		return err
	}
	link, err := findLink(name, id, false)
	if errors.Is(err, ErrForeign) || err == nil && link == nil {
		return nil
	}
	if err != nil {
		return err
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("bridge %s: delete: %w", name, err)
	}
	return nil
}
