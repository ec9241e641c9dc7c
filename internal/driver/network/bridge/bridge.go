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

	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/hostroute"
)

// Config is everything about one bridge.
type Config struct {
	Name   string // interface, checked to be a valid name
	ID     string // UUID of the network; it stands on what is made for it
	Dir    string // folder of its own for dnsmasq's files
	HWAddr net.HardwareAddr
	MTU    int // 0: 1500
	IPv4   *Family
	IPv6   *Family
	// Adopt has a bridge without an alias taken for this network's: made before there were identities.
	Adopt bool
	// External are interfaces of the host that become ports.
	External []string

	// Firewall4 and Firewall6 ask for filtering rules, whether the family has an address or not.
	Firewall4, Firewall6 bool

	Domain  string // empty: "lxd"
	DNSMode string // managed, dynamic or none
	Search  []string
	// RawDnsmasq is put into dnsmasq's configuration file as it is; whoever may set it rules dnsmasq.
	RawDnsmasq string
	// AppArmor confines dnsmasq; nil: nothing does.
	AppArmor *apparmor.Host
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
	Routes   []netip.Prefix
}

// Range is a run of addresses, both ends included.
type Range struct{ First, Last netip.Addr }

const defaultMTU = 1500

// linkMade is when the bridge is there and has no name yet.
var linkMade = fault.New("network.link.made")

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
	hostroute.Restore(link) // of NICs
	if err := setFirewall(ctx, c); err != nil {
		return err
	}
	return syncDnsmasq(ctx, c)
}

// Down takes away what Up has made for the network with an identity: dnsmasq, rules and interface. What is gone already is
// no error, and what is another's stays. The folder stays; without one there is no dnsmasq to end.
func Down(ctx context.Context, name, id, dir string) error {
	var err error
	if dir != "" {
		err = StopDnsmasq(ctx, dir)
	}
	err = errors.Join(err, removeFirewall(ctx, name, id), removeLink(name, id))
	if dir != "" {
		err = errors.Join(err, routesOf(dir).Remove())
	}
	return err
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

// HasPort tells whether an interface is in the bridge.
func HasPort(bridge, name string) bool {
	_, in := port(bridge, name)
	return in
}

// DetachPort takes an external interface out of the bridge; one that is not in it is left alone.
func DetachPort(bridge, name string) error {
	link, in := port(bridge, name)
	if !in {
		return nil
	}
	return netlink.LinkSetNoMaster(link)
}

func port(bridge, name string) (netlink.Link, bool) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, false
	}
	master, err := netlink.LinkByName(bridge)
	return link, err == nil && link.Attrs().MasterIndex == master.Attrs().Index
}

// makeDir makes the folder that dnsmasq, which is not root, must be able to look into.
func makeDir(c Config) error {
	if err := os.MkdirAll(c.Dir, 0o711); err != nil {
		return err
	}
	return os.Chmod(c.Dir, 0o711)
}
