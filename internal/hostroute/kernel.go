package hostroute

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// metric6 is what the kernel gives an IPv6 route that is made without a metric (IP6_RT_PRIO_USER in ipv6.h).
const metric6 = 1024

// view is the main table of the host, as it was when it was first asked for.
type view struct{ routes map[int][]netlink.Route }

// list are the routes of a family. A list that was interrupted by changes may lack some: RouteAdd, which is exclusive, then says so.
func (v *view) list(family int) ([]netlink.Route, error) {
	if all, ok := v.routes[family]; ok {
		return all, nil
	}
	all, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	if v.routes == nil {
		v.routes = map[int][]netlink.Route{}
	}
	v.routes[family] = all
	return all, nil
}

// kernel is a route as the owner makes it.
func (o Owner) kernel(r route) *netlink.Route {
	k := &netlink.Route{LinkIndex: r.Link, Dst: ipNet(r.Dst), Protocol: o.Protocol, Table: unix.RT_TABLE_MAIN}
	if r.Dst.Addr().Is4() {
		k.Scope = netlink.SCOPE_LINK
	}
	return k
}

// made tells whether a route of the host is what the owner would make of r.
func (o Owner) made(k netlink.Route, r route) bool {
	return competes(k, r) && k.LinkIndex == r.Link && k.Protocol == o.Protocol && k.Type == unix.RTN_UNICAST &&
		k.Gw == nil && k.Via == nil && k.Src == nil && k.Encap == nil && len(k.MultiPath) == 0 &&
		(r.Dst.Addr().Is6() || k.Scope == netlink.SCOPE_LINK)
}

// competes tells whether a route of the host is in the place of r: where both are to the same destination the kernel takes the one with the
// lower metric, and of one metric there is but one.
func competes(k netlink.Route, r route) bool {
	metric := 0
	if r.Dst.Addr().Is6() {
		metric = metric6
	}
	return k.Priority == metric && k.Tos == 0 && destination(k) == r.Dst
}

// destination is where a route leads; the default one has no destination.
func destination(k netlink.Route) netip.Prefix {
	if k.Dst == nil {
		if k.Family == netlink.FAMILY_V6 {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	addr, _ := netip.AddrFromSlice(k.Dst.IP)
	ones, _ := k.Dst.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func nameOf(index int) string {
	if index == 0 {
		return ""
	}
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return ""
	}
	return link.Attrs().Name
}
