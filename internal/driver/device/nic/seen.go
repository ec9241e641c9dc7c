package nic

import (
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// seen is what an interface loses when it leaves the instance: its addresses, routes and state.
type seen struct {
	Name string `json:"name"`
	Up   bool   `json:"up"`
	// HWAddr and MTU are the guest's to change.
	HWAddr string    `json:"hwaddr,omitempty"`
	MTU    int       `json:"mtu,omitempty"`
	Addrs  []address `json:"addrs,omitempty"`
	Routes []hop     `json:"routes,omitempty"`
	// Neighbours are those that are set by hand.
	Neighbours []neighbour `json:"neighbours,omitempty"`
}

type address struct {
	CIDR      string `json:"cidr"`
	Peer      string `json:"peer,omitempty"`
	Broadcast net.IP `json:"broadcast,omitempty"`
	Label     string `json:"label,omitempty"`
	Scope     int    `json:"scope,omitempty"`
	Flags     int    `json:"flags,omitempty"`
	Valid     int    `json:"valid"`
	Preferred int    `json:"preferred"`
}

// hop is a route over the interface.
type hop struct {
	Family   int    `json:"family"`
	Dst      string `json:"dst,omitempty"` // the default route has none
	Gateway  net.IP `json:"gateway,omitempty"`
	Source   net.IP `json:"source,omitempty"`
	Scope    int    `json:"scope,omitempty"`
	Protocol int    `json:"protocol,omitempty"`
	Table    int    `json:"table,omitempty"`
	Priority int    `json:"priority,omitempty"`
	Flags    int    `json:"flags,omitempty"`
	MTU      int    `json:"mtu,omitempty"`
}

// A guest may have any number of each; so many are brought back.
const maxAddrs, maxRoutes, maxNeighbours = 64, 256, 256

// kept are the flags of an address that say how it is to be treated; the kernel sets the others itself.
const kept = unix.IFA_F_NODAD | unix.IFA_F_HOMEADDRESS | unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MCAUTOJOIN

// look reads an interface in the namespace that h is of.
func look(h *netlink.Handle, link netlink.Link) (*seen, error) {
	is := link.Attrs()
	s := &seen{Name: is.Name, Up: is.Flags&net.FlagUp != 0, HWAddr: is.HardwareAddr.String(), MTU: is.MTU}
	addrs, err := h.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	for _, a := range addrs[:min(len(addrs), maxAddrs)] {
		one := address{CIDR: a.IPNet.String(), Broadcast: a.Broadcast, Label: a.Label, Scope: a.Scope, Flags: a.Flags & kept, Valid: a.ValidLft, Preferred: a.PreferedLft}
		if a.Peer != nil {
			one.Peer = a.Peer.String()
		}
		s.Addrs = append(s.Addrs, one)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		filter := &netlink.Route{LinkIndex: link.Attrs().Index, Table: unix.RT_TABLE_UNSPEC}
		routes, err := h.RouteListFiltered(family, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("routes: %w", err)
		}
		for _, r := range routes {
			if r.Protocol == unix.RTPROT_KERNEL || r.Type != unix.RTN_UNICAST || len(r.MultiPath) > 0 || len(s.Routes) == maxRoutes {
				continue // the kernel's come with their addresses
			}
			one := hop{Family: family, Gateway: r.Gw, Source: r.Src, Scope: int(r.Scope), Protocol: int(r.Protocol), Table: r.Table,
				Priority: r.Priority, Flags: r.Flags & unix.RTNH_F_ONLINK, MTU: r.MTU}
			if r.Dst != nil {
				one.Dst = r.Dst.String()
			}
			s.Routes = append(s.Routes, one)
		}
	}
	s.Neighbours, err = neighbours(h, link)
	return s, err
}

// bringBack gives an interface, whose configured hardware address is own, what it had.
func (s *seen) bringBack(h *netlink.Handle, link netlink.Link, own net.HardwareAddr) error {
	if err := s.bringLinkBack(h, link); err != nil { // something else may have the address by now; the interface is worth more than that
		slog.Warn("An interface is not all that it was", "interface", s.Name, "err", err)
	}
	if err := s.bringUpOrDown(h, link, own); err != nil {
		return err
	}
	var errs []error
	for _, a := range s.Addrs {
		if err := a.restore(h, link); err != nil {
			errs = append(errs, fmt.Errorf("address %s: %w", a.CIDR, err))
		}
	}
	for _, n := range s.Neighbours {
		if err := n.restore(h, link); err != nil && s.Up { // the kernel has none where it is down
			errs = append(errs, fmt.Errorf("neighbour %s: %w", n.IP, err))
		}
	}
	// A route may need another one, over which its gateway is reached: again, as long as that helps.
	left := s.Routes
	for len(left) > 0 && s.Up {
		var failed []hop
		var why []error
		for _, r := range left {
			if err := r.restore(h, link); err != nil {
				failed, why = append(failed, r), append(why, fmt.Errorf("route to %q: %w", r.Dst, err))
			}
		}
		if len(failed) == len(left) {
			errs = append(errs, why...)
			break
		}
		left = failed
	}
	return errors.Join(errs...)
}

// bringUpOrDown brings it into the state that it had. A macvlan finds out only then that another one has its hardware address.
func (s *seen) bringUpOrDown(h *netlink.Handle, link netlink.Link, own net.HardwareAddr) error {
	if !s.Up {
		return h.LinkSetDown(link)
	}
	err := h.LinkSetUp(link)
	if err == nil || s.HWAddr == own.String() {
		return err
	}
	slog.Warn("An interface gets the hardware address of its configuration", "interface", s.Name, "instead of", s.HWAddr, "err", err)
	return errors.Join(h.LinkSetHardwareAddr(link, own), h.LinkSetUp(link))
}

// bringLinkBack gives an interface that was made anew the hardware address and the size of packets that the guest had chosen.
func (s *seen) bringLinkBack(h *netlink.Handle, link netlink.Link) error {
	if a, err := net.ParseMAC(s.HWAddr); err == nil && s.HWAddr != link.Attrs().HardwareAddr.String() {
		if err := h.LinkSetHardwareAddr(link, a); err != nil {
			return fmt.Errorf("hardware address %s: %w", s.HWAddr, err)
		}
	}
	if s.MTU > 0 && s.MTU != link.Attrs().MTU {
		if err := h.LinkSetMTU(link, s.MTU); err != nil {
			return fmt.Errorf("mtu %d: %w", s.MTU, err)
		}
	}
	return nil
}

func (a address) restore(h *netlink.Handle, link netlink.Link) error {
	addr, err := netlink.ParseAddr(a.CIDR)
	if err != nil {
		return err
	}
	if a.Peer != "" {
		if addr.Peer, err = netlink.ParseIPNet(a.Peer); err != nil {
			return err
		}
	}
	addr.Broadcast, addr.Label, addr.Scope, addr.Flags = a.Broadcast, a.Label, a.Scope, a.Flags
	addr.ValidLft, addr.PreferedLft = a.Valid, a.Preferred
	if addr.Broadcast == nil {
		addr.Broadcast = net.IPv4zero // none: the library would make one up
	}
	if addr.IP.To4() == nil {
		// It was in use here a moment ago: a search for another that has it would keep its routes waiting.
		addr.Flags |= unix.IFA_F_NODAD
	}
	return h.AddrReplace(link, addr)
}

func (r hop) restore(h *netlink.Handle, link netlink.Link) error {
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index, Family: r.Family, Gw: r.Gateway, Src: r.Source, Scope: netlink.Scope(r.Scope),
		Protocol: netlink.RouteProtocol(r.Protocol), Table: r.Table, Priority: r.Priority, Flags: r.Flags, MTU: r.MTU,
	}
	dst := r.Dst
	if dst == "" {
		dst = map[int]string{netlink.FAMILY_V4: "0.0.0.0/0", netlink.FAMILY_V6: "::/0"}[r.Family]
	}
	var err error
	if route.Dst, err = netlink.ParseIPNet(dst); err != nil {
		return err
	}
	// Beside what the guest has to the same destination, over another interface. Exactly this route is there already where it did not go.
	if err := h.RouteAppend(route); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}
