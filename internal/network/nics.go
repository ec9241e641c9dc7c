package network

import (
	"context"
	"net"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/device/nic"
	"github.com/berthd/berth/internal/driver/network/bridge"
)

var _ nic.Networks = (*Service)(nil)

// Network implements nic.Networks.
func (s *Service) Network(project, name string) (nic.Network, error) {
	row, ok := s.table.Get(project, name)
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
func (s *Service) Reserve(network, file string, h bridge.Host) error {
	s.hostsMu.Lock()
	defer s.hostsMu.Unlock()
	if err := s.conflict(network, file, h); err != nil {
		return err
	}
	return bridge.SetHost(s.dir(network), file, h)
}

// Conflict implements nic.Networks.
func (s *Service) Conflict(network, file string, h bridge.Host) error {
	s.hostsMu.Lock()
	defer s.hostsMu.Unlock()
	return s.conflict(network, file, h)
}

func (s *Service) conflict(network, file string, h bridge.Host) error {
	hosts, err := bridge.Hosts(s.dir(network))
	if err != nil {
		return err
	}
	for other, o := range hosts {
		switch {
		case other == file:
		case o.HWAddr.String() == h.HWAddr.String():
			return api.BadRequest("MAC address %q already defined on another NIC", h.HWAddr)
		case h.IPv4.IsValid() && o.IPv4 == h.IPv4:
			return api.BadRequest("IP address %q already defined on another NIC", h.IPv4)
		case h.IPv6.IsValid() && o.IPv6 == h.IPv6:
			return api.BadRequest("IP address %q already defined on another NIC", h.IPv6)
		case h.Name != "" && o.Name == h.Name:
			return api.BadRequest("Instance DNS name %q already used on network", h.Name)
		}
	}
	return nil
}

// Release implements nic.Networks.
func (s *Service) Release(ctx context.Context, network, file string, hwaddr net.HardwareAddr) error {
	s.hostsMu.Lock()
	defer s.hostsMu.Unlock()
	if err := bridge.RemoveHost(s.dir(network), file); err != nil {
		return err
	}
	return bridge.DropLeases(ctx, s.dir(network), hwaddr)
}

// renameHosts gives the reservations of a network their names, or takes them away, as its configuration now says.
func (s *Service) renameHosts(r record) error {
	s.hostsMu.Lock()
	defer s.hostsMu.Unlock()
	hosts, err := bridge.Hosts(s.dir(r.Name))
	if err != nil {
		return err
	}
	dns := describe(&r).DNS
	for file, h := range hosts {
		h.Name = ""
		if dns {
			h.Name = instanceOf(file)
		}
		if err := bridge.SetHost(s.dir(r.Name), file, h); err != nil {
			return err
		}
	}
	return nil
}
