package network

import (
	"context"
	"maps"
	"net"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/device/nic"
	"github.com/berthd/berth/internal/driver/network/bridge"
)

var _ nic.Networks = (*Service)(nil)

// Network implements nic.Networks.
func (s *Service) Network(project, name string) (nic.Network, error) {
	row, ok := s.table.Get(s.Home(project), name)
	if !ok {
		return nic.Network{}, api.NotFound("Network not found")
	}
	return describe(row.Value), nil
}

// Interface implements nic.Networks.
func (s *Service) Interface(parent string) (nic.Network, bool) {
	r, ok := s.byInterface(parent)
	if !ok {
		return nic.Network{}, false
	}
	return describe(r), true
}

func describe(r *record) nic.Network {
	n := nic.Network{Name: r.Name, DNS: bridgeKeys.Get(r.Config, "dns.mode") == "managed"}
	if f, err := compileFamily(*r, "ipv4"); err == nil && f != nil {
		n.IPv4, n.DHCPv4 = f.Address, f.DHCP
	}
	if f, err := compileFamily(*r, "ipv6"); err == nil && f != nil {
		n.IPv6, n.DHCPv6 = f.Address, f.DHCP && f.Stateful
	}
	return n
}

// Reserve implements nic.Networks.
//
// An address that is reserved is so at once: nobody else may be given it. A name may come later than the lease that it is
// for, as dnsmasq names leases when it reads hosts.
func (s *Service) Reserve(ctx context.Context, network, file string, h bridge.Host) error {
	changed := false
	err := s.withHosts(network, func(known *reservations) error {
		if err := known.conflict(file, h); err != nil {
			return err
		}
		var err error
		changed, err = s.setHost(network, file, known, h)
		return err
	})
	switch {
	case err != nil || !changed:
		return err
	case h.IPv4.IsValid() || h.IPv6.IsValid():
		return s.reloads.now(ctx, network)
	}
	return s.reloads.soon(ctx, network)
}

// setHost writes a reservation, which dnsmasq does not know of until it is reloaded.
func (s *Service) setHost(network, file string, known *reservations, h bridge.Host) (changed bool, err error) {
	if changed, err = bridge.SetHost(s.dir(network), file, h); err == nil {
		known.set(file, h)
	}
	return changed, err
}

// Conflict implements nic.Networks.
func (s *Service) Conflict(network, file string, h bridge.Host) error {
	return s.withHosts(network, func(known *reservations) error { return known.conflict(file, h) })
}

// Release implements nic.Networks.
func (s *Service) Release(ctx context.Context, network, file string, hwaddr net.HardwareAddr) error {
	was, others := false, false
	err := s.withHosts(network, func(known *reservations) error {
		var err error
		if was, err = bridge.RemoveHost(s.dir(network), file); err == nil {
			known.remove(file)
		}
		others = len(known.users[claim{claimMAC, hwaddr.String()}]) > 0
		return err
	})
	if api.IsNotFound(err) {
		return nil // a network that is gone has forgotten it
	}
	if err != nil {
		return err
	}
	if others { // a copy that has the hardware address of its source never was on the network: the leases are the source's
		return nil
	}
	// Without a reservation it never ran. With one dnsmasq starts again, and so forgets the reservation too.
	err = bridge.DropLeases(ctx, s.dir(network), func() (bridge.Config, error) { return s.inForce(network) }, hwaddr, was)
	if api.IsNotFound(err) {
		return nil
	}
	return err
}

// renameHosts gives the reservations of a network their names, or takes them away, as its configuration now says.
func (s *Service) renameHosts(ctx context.Context, r record) error {
	err := s.withHosts(r.Name, func(known *reservations) error {
		dns := describe(&r).DNS
		for file, h := range maps.Clone(known.hosts) {
			h.Name = ""
			if dns {
				_, h.Name = ownerOf(file)
			}
			if _, err := s.setHost(r.Name, file, known, h); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.reloads.now(ctx, r.Name)
}
