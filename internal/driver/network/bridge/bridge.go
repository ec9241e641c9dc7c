// Package bridge makes a managed bridge real: the interface and its addresses, dnsmasq on it, and the firewall's rules
// for it. It works from plain data and keeps no state of its own: Up brings whatever is there to what the
// configuration says and touches nothing that is right already, so it serves first start, change and restart alike.
package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Config is everything about one bridge.
type Config struct {
	Name   string // interface, checked to be a valid name
	Dir    string // folder of its own for dnsmasq's files
	HWAddr net.HardwareAddr
	MTU    int // 0: 1500
	IPv4   *Family
	IPv6   *Family
	// External are interfaces of the host that become ports.
	External []string

	Domain  string // "lxd"
	DNSMode string // managed, dynamic or none
	Search  string // comma-separated domains
	// RawDnsmasq is put into dnsmasq's configuration file as it is; whoever may set it rules dnsmasq.
	RawDnsmasq string
}

// Family is the configuration of IPv4 or of IPv6; a nil one is off.
type Family struct {
	Address  netip.Prefix // of the bridge, host bits included
	DHCP     bool
	Stateful bool       // IPv6: DHCP gives addresses
	Gateway  netip.Addr // IPv4: what DHCP says; zero: Address
	Expiry   string     // dnsmasq's syntax: "1h"
	Ranges   []Range
	NAT      bool
	NATFrom  netip.Addr // source address; zero: masquerade
	NATAfter bool       // after other NAT rules of the host
	Routing  bool
	Firewall bool
	Routes   []netip.Prefix
}

// Range is a run of addresses, both ends included.
type Range struct{ First, Last netip.Addr }

const defaultMTU = 1500

// Up brings the bridge to what c says. It is idempotent.
func Up(ctx context.Context, c Config) error {
	link, err := ensureLink(c)
	if err != nil {
		return err
	}
	if err := sysctls(c); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bridge %s: bring up: %w", c.Name, err)
	}
	if err := addPorts(link, c); err != nil {
		return err
	}
	if err := syncAddresses(link, c); err != nil {
		return err
	}
	if err := syncRoutes(link, c); err != nil {
		return err
	}
	if err := setFirewall(c); err != nil {
		return err
	}
	return syncDnsmasq(ctx, c)
}

// Down takes the bridge away: dnsmasq, rules and interface. What is gone already is no error. The folder stays.
func Down(ctx context.Context, name, dir string) error {
	err := StopDnsmasq(ctx, dir)
	err = errors.Join(err, removeFirewall(name))
	link, lerr := netlink.LinkByName(name)
	if lerr != nil {
		if errors.As(lerr, new(netlink.LinkNotFoundError)) {
			return err
		}
		return errors.Join(err, lerr)
	}
	if link.Type() != "bridge" {
		return err
	}
	if lerr = netlink.LinkDel(link); lerr != nil {
		err = errors.Join(err, fmt.Errorf("bridge %s: delete: %w", name, lerr))
	}
	return err
}

func ensureLink(c Config) (netlink.Link, error) {
	link, err := netlink.LinkByName(c.Name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = c.Name
		attrs.HardwareAddr = c.HWAddr
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, syscall.EEXIST) {
			return nil, fmt.Errorf("bridge %s: create: %w", c.Name, err)
		}
		link, err = netlink.LinkByName(c.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("bridge %s: %w", c.Name, err)
	}
	if link.Type() != "bridge" {
		return nil, fmt.Errorf("interface %s exists and is no bridge but a %s", c.Name, link.Type())
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

// addPorts attaches the external interfaces. One that is missing is left out, as it may be plugged in later; one
// that has addresses of its own is refused, since they would stop working.
func addPorts(bridge netlink.Link, c Config) error {
	for _, name := range c.External {
		link, err := netlink.LinkByName(name)
		if err != nil {
			slog.Warn("External interface of a bridge is missing", "bridge", c.Name, "interface", name, "err", err)
			continue
		}
		if link.Attrs().MasterIndex == bridge.Attrs().Index {
			continue
		}
		addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		if err != nil {
			return fmt.Errorf("external interface %s: %w", name, err)
		}
		for _, a := range addrs {
			if a.IP.IsGlobalUnicast() {
				return errors.New("Only unconfigured network interfaces can be bridged")
			}
		}
		if err := netlink.LinkSetMaster(link, bridge); err != nil {
			return fmt.Errorf("bridge %s: add port %s: %w", c.Name, name, err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring up %s: %w", name, err)
		}
	}
	return nil
}

// DetachPort takes an external interface out of the bridge; one that is not in it is left alone.
func DetachPort(bridge, name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil
	}
	master, err := netlink.LinkByName(bridge)
	if err != nil || link.Attrs().MasterIndex != master.Attrs().Index {
		return nil
	}
	return netlink.LinkSetNoMaster(link)
}

func syncAddresses(link netlink.Link, c Config) error {
	have, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("bridge %s: list addresses: %w", c.Name, err)
	}
	want := map[netip.Prefix]bool{}
	for _, f := range []*Family{c.IPv4, c.IPv6} {
		if f != nil {
			want[f.Address] = true
		}
	}
	for _, a := range have {
		p := prefixOf(a.IPNet)
		if want[p] {
			delete(want, p)
			continue
		}
		if p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return fmt.Errorf("bridge %s: remove address %s: %w", c.Name, p, err)
		}
	}
	for p := range want {
		addr := &netlink.Addr{IPNet: ipNet(p), Scope: int(netlink.SCOPE_UNIVERSE)}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(link, addr); err != nil {
			return fmt.Errorf("bridge %s: add address %s: %w", c.Name, p, err)
		}
	}
	return nil
}

// syncRoutes owns the routes of protocol "static" on the bridge; NICs' routes have protocol "boot".
func syncRoutes(link netlink.Link, c Config) error {
	want := map[netip.Prefix]bool{}
	for _, f := range []*Family{c.IPv4, c.IPv6} {
		if f != nil {
			for _, p := range f.Routes {
				want[p.Masked()] = true
			}
		}
	}
	filter := &netlink.Route{LinkIndex: link.Attrs().Index, Protocol: unix.RTPROT_STATIC}
	have, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("bridge %s: list routes: %w", c.Name, err)
	}
	for _, r := range have {
		if r.Dst == nil {
			continue
		}
		p := prefixOf(r.Dst)
		if want[p] {
			delete(want, p)
			continue
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("bridge %s: remove route %s: %w", c.Name, p, err)
		}
	}
	for p := range want {
		r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(p), Protocol: unix.RTPROT_STATIC}
		if p.Addr().Is4() {
			r.Scope = netlink.SCOPE_LINK
		}
		if err := netlink.RouteReplace(r); err != nil {
			return fmt.Errorf("bridge %s: add route %s: %w", c.Name, p, err)
		}
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

// makeDir makes the folder that dnsmasq, which is not root, must be able to look into.
func makeDir(c Config) error {
	if err := os.MkdirAll(c.Dir, 0o711); err != nil {
		return err
	}
	return os.Chmod(c.Dir, 0o711)
}
