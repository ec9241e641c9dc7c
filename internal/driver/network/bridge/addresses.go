package bridge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/hostroute"
)

// syncAddresses brings the addresses to what the configuration says. New ones of IPv4 come before old ones go: with the last one the kernel
// drops all IPv4 routes over the bridge, those of running NICs among them. With IPv6 it does not, and one address cannot be there twice,
// with two lengths of its prefix.
func syncAddresses(link netlink.Link, c Config) error {
	have, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("bridge %s: list addresses: %w", c.Name, err)
	}
	var old []netlink.Addr
	for _, a := range have {
		if p := prefixOf(a.IPNet); !c.has(p) && !p.Addr().IsLinkLocalUnicast() {
			old = append(old, a)
		}
	}
	if err := addAddress(link, c.IPv4); err != nil {
		return err
	}
	for _, a := range old {
		if a.IP.To4() != nil {
			promote(c.Name)
		}
		if err := netlink.AddrDel(link, &a); err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return fmt.Errorf("bridge %s: remove address %s: %w", c.Name, prefixOf(a.IPNet), err)
		}
	}
	return errors.Join(addAddress(link, c.IPv4), addAddress(link, c.IPv6))
}

func (c Config) has(p netip.Prefix) bool {
	return c.IPv4 != nil && c.IPv4.Address == p || c.IPv6 != nil && c.IPv6.Address == p
}

// promote has an address stay that was added to the subnet of one that is about to go. Where that cannot be set it goes too, and is added
// once more.
func promote(bridge string) {
	_ = writeSysctl(filepath.Join(sysNet, "ipv4/conf", bridge, "promote_secondaries"), "1")
}

// addAddress gives the bridge the address of a family, if it has one. It is idempotent.
func addAddress(link netlink.Link, f *Family) error {
	if f == nil {
		return nil
	}
	addr := &netlink.Addr{IPNet: ipNet(f.Address), Scope: int(netlink.SCOPE_UNIVERSE)}
	if f.Address.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("bridge %s: add address %s: %w", link.Attrs().Name, f.Address, err)
	}
	return nil
}

// routesOf is the owner of the routes of the network with a folder; those of NICs have protocol "boot".
func routesOf(dir string) hostroute.Owner {
	return hostroute.Owner{File: filepath.Join(dir, routesFile), Protocol: unix.RTPROT_STATIC, Over: unix.RTPROT_BOOT}
}

// routesFile records in a network's folder the routes that were made for it.
const routesFile = "routes.json"

// syncRoutes brings the network's own routes to what the configuration says.
func syncRoutes(link netlink.Link, c Config) error {
	var want []netip.Prefix
	for _, f := range []*Family{c.IPv4, c.IPv6} {
		if f != nil {
			want = append(want, f.Routes...)
		}
	}
	if err := makeDir(c); err != nil {
		return err
	}
	routes := routesOf(c.Dir)
	// A daemon that kept no record took all routes of its protocol over the bridge for the network's.
	if err := routes.Claim(link, func(netip.Prefix) bool { return true }); err != nil {
		return fmt.Errorf("bridge %s: %w", c.Name, err)
	}
	err := routes.Sync(link, want)
	if taken := (*hostroute.TakenError)(nil); errors.As(err, &taken) {
		key := "ipv4.routes"
		if taken.Dst.Addr().Is6() {
			key = "ipv6.routes"
		}
		return api.BadRequest("Failed adding route %q of %q to %q: %w", taken.Dst, key, c.Name, err)
	}
	if err != nil {
		return fmt.Errorf("bridge %s: %w", c.Name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) netip.Prefix {
	addr, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones)
}
