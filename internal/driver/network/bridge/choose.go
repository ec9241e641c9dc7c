package bridge

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// wideRoute is the longest prefix of an IPv4 route, such as 10.0.0.0/8 to a company's network, that does not count
// as a use of every subnet in it: otherwise a host with such a route would never find a free one.
const wideRoute = 12

// attempts bounds the search for a free subnet; with fewer than half of them in use, failing by chance is out of question.
const attempts = 200

// ChooseIPv4 finds a subnet 10.x.y.0/24 that neither the host nor `taken` uses, and returns its first address.
func ChooseIPv4(taken []netip.Prefix) (netip.Prefix, error) {
	return choose(taken, netlink.FAMILY_V4, func() netip.Prefix {
		b := random(2)
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, b[0], b[1], 1}), 24)
	})
}

// ChooseIPv6 finds a subnet of fd42::/16 as ChooseIPv4 does.
func ChooseIPv6(taken []netip.Prefix) (netip.Prefix, error) {
	return choose(taken, netlink.FAMILY_V6, func() netip.Prefix {
		addr := [16]byte{0xfd, 0x42, 15: 1}
		copy(addr[2:8], random(6))
		return netip.PrefixFrom(netip.AddrFrom16(addr), 64)
	})
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func choose(taken []netip.Prefix, family int, candidate func() netip.Prefix) (netip.Prefix, error) {
	used, err := inUse(family)
	if err != nil {
		return netip.Prefix{}, err
	}
	used = append(used, taken...)
	for range attempts {
		if p := candidate(); free(p, used) {
			return p, nil
		}
	}
	version := 4
	if family == netlink.FAMILY_V6 {
		version = 6
	}
	return netip.Prefix{}, fmt.Errorf("Failed to automatically find an unused IPv%d subnet, manual configuration required", version)
}

func free(p netip.Prefix, used []netip.Prefix) bool {
	for _, u := range used {
		if u.Overlaps(p) {
			return false
		}
	}
	return true
}

// inUse lists the prefixes of the host's addresses and routes, without default and very wide routes.
func inUse(family int) ([]netip.Prefix, error) {
	addrs, err := netlink.AddrList(nil, family)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var used []netip.Prefix
	for _, a := range addrs {
		p := prefixOf(a.IPNet)
		if p.Bits() <= wideRoute {
			p = netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
		}
		used = append(used, p)
	}
	routes, err := netlink.RouteList(nil, family)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		if p := prefixOf(r.Dst); p.Bits() > wideRoute {
			used = append(used, p)
		}
		if r.Gw != nil {
			if gw, ok := netip.AddrFromSlice(r.Gw); ok {
				used = append(used, netip.PrefixFrom(gw.Unmap(), gw.Unmap().BitLen()))
			}
		}
	}
	return used, nil
}
