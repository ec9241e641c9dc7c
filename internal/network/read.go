package network

import (
	"context"
	"net"
	"net/netip"
	"sort"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/driver/network/bridge"
	"github.com/berthd/berth/internal/netstate"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// List returns the managed networks of a project by name, then the host's other interfaces.
func (s *Service) List(_ context.Context, of string) ([]api.Network, error) {
	list := []api.Network{}
	home := s.Home(of)
	for _, row := range s.table.List(home) {
		if s.Projects.Allows(of, project.NetworkNeed(row.Value.Name, true)) != nil {
			continue
		}
		list = append(list, *s.render(row.Value))
	}
	if home != api.ProjectDefault { // the host's interfaces are no project's own
		return list, nil
	}
	interfaces, err := netstate.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range interfaces {
		if _, ok := s.byInterface(i.Name); !ok && s.Projects.Allows(of, project.NetworkNeed(i.Name, false)) == nil {
			list = append(list, *s.unmanaged(home, i))
		}
	}
	return list, nil
}

// UUID is what tells a managed network from another that has its name later.
func (s *Service) UUID(project, name string) (uuid string, ok bool) {
	row, ok := s.table.Get(s.Home(project), name)
	if !ok {
		return "", false
	}
	return row.Value.UUID, true
}

// Managed lists the names of a project's managed networks.
func (s *Service) Managed(project string) []string {
	var names []string
	for _, row := range s.table.List(s.Home(project)) {
		names = append(names, row.Value.Name)
	}
	return names
}

// Get returns a managed network or an interface of the host; the latter has revision 0.
func (s *Service) Get(_ context.Context, project, name string) (*api.Network, store.Revision, error) {
	project, err := s.find(project, name)
	if err != nil {
		return nil, 0, err
	}
	if row, ok := s.table.Get(project, name); ok {
		return s.render(row.Value), row.Revision, nil
	}
	if _, other := s.byInterface(name); !other && project == api.ProjectDefault {
		if i, ok := netstate.Find(name); ok && checkName(name) == nil {
			return s.unmanaged(project, i), 0, nil
		}
	}
	return nil, 0, api.NotFound("Network not found")
}

func (s *Service) render(r *record) *api.Network {
	return &api.Network{
		NetworkPut: api.NetworkPut{Config: config.WithoutEmpty(r.Config), Description: r.Description},
		Name:       r.Name, Type: r.Type, Managed: true, Status: s.status(r),
		UsedBy: s.UsedBy(r.Project, r.Name), Locations: []string{"none"},
	}
}

func (s *Service) unmanaged(project string, i netstate.Interface) *api.Network {
	n := &api.Network{NetworkPut: api.NetworkPut{Config: map[string]string{}}, Name: i.Name, Type: i.Type}
	if i.Type == "loopback" {
		n.UsedBy = []string{}
	} else {
		n.UsedBy = s.UsedBy(project, i.Name)
	}
	return n
}

// State returns the live state of a network's, or of any of the host's interfaces.
func (s *Service) State(_ context.Context, project, name string) (*api.NetworkState, error) {
	if home, err := s.find(project, name); err != nil || home != api.ProjectDefault {
		return nil, api.NotFound("Network not found")
	}
	return netstate.Host(name)
}

// Leases lists the addresses in a managed network that are a project's: those reserved for its instances, and what DHCP and SLAAC gave them. The
// bridge's own and those of strangers are shown where the network is.
func (s *Service) Leases(_ context.Context, project, name string) ([]api.NetworkLease, error) {
	home, err := s.find(project, name)
	if err != nil {
		return nil, err
	}
	row, err := s.row(home, name)
	if err != nil {
		return nil, err
	}
	c, err := compile(*row.Value, s.dir(name))
	if err != nil {
		return nil, err
	}
	hosts, err := bridge.Hosts(c.Dir)
	if err != nil {
		return nil, err
	}
	given, err := bridge.Leases(c.Dir)
	if err != nil {
		return nil, err
	}
	l := leases{list: []api.NetworkLease{}, seen: map[string]bool{}}
	if project == home {
		for _, f := range []*bridge.Family{c.IPv4, c.IPv6} {
			if f != nil {
				l.list = append(l.list, api.NetworkLease{Hostname: name + ".gw", Address: f.Address.Addr().String(), Type: "gateway"})
			}
		}
	}
	known := map[string]string{} // file by hardware address
	for _, file := range sorted(hosts) {
		h := hosts[file]
		known[h.HWAddr.String()] = file
		if of, instance := ownerOf(file); of == project {
			l.add("static", instance, h.HWAddr.String(), h.IPv4)
			l.add("static", instance, h.HWAddr.String(), h.IPv6)
		}
	}
	if c.IPv6 != nil && c.IPv6.DHCP && !c.IPv6.Stateful {
		for _, file := range sorted(hosts) {
			if of, instance := ownerOf(file); of == project {
				l.add("dynamic", instance, hosts[file].HWAddr.String(), slaac(c.IPv6.Address, hosts[file].HWAddr))
			}
		}
	}
	for _, one := range given {
		of, instance := home, one.Hostname
		if file, ok := known[one.HWAddr]; ok {
			of, instance = ownerOf(file)
		}
		if of == project {
			l.add("dynamic", instance, one.HWAddr, one.Address)
		}
	}
	return l.list, nil
}

// leases gathers leases, each address once.
type leases struct {
	list []api.NetworkLease
	seen map[string]bool
}

func (l *leases) add(kind, host, mac string, addr netip.Addr) {
	if !addr.IsValid() || l.seen[addr.String()] {
		return
	}
	l.seen[addr.String()] = true
	l.list = append(l.list, api.NetworkLease{Hostname: host, Hwaddr: mac, Address: addr.String(), Type: kind, Location: "none"})
}

func sorted(hosts map[string]bridge.Host) []string {
	names := make([]string, 0, len(hosts))
	for name := range hosts {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// ownerOf is the project and the instance in the name of a hosts file: "[project_]instance.device".
func ownerOf(file string) (project, instance string) {
	name, _, _ := strings.Cut(file, ".")
	if n := strings.LastIndexByte(name, '_'); n >= 0 {
		return name[:n], name[n+1:]
	}
	return api.ProjectDefault, name
}

// slaac is the address that a host makes of a prefix of 64 bits and its hardware address (RFC 4291, appendix A).
func slaac(p netip.Prefix, mac net.HardwareAddr) netip.Addr {
	if p.Bits() != 64 || len(mac) != 6 {
		return netip.Addr{}
	}
	a := p.Addr().As16()
	copy(a[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.AddrFrom16(a)
}
