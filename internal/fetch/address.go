package fetch

import (
	"fmt"
	"net"
	"net/netip"
)

// special are the ranges (IANA's special-purpose address registries) that are nobody's on the Internet, beside those that netip knows. Of IPv6
// all is allowed that is global unicast (2000::/3) and not listed here: what embeds an IPv4 address in itself leads to wherever that leads.
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

var global = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// check allows a public address that is not this host's own.
func check(a netip.Addr) error {
	plain := a.Unmap().WithZone("")
	if !public(plain) || own(plain) {
		return fmt.Errorf("%w: %s", ErrForbidden, a)
	}
	return nil
}

func public(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() && !global.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// own tells whether an address is one of this host's: its services see such a connection as a local one.
func own(a netip.Addr) bool {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	for _, known := range addresses {
		if p, err := netip.ParsePrefix(known.String()); err == nil && p.Addr().Unmap() == a {
			return true
		}
	}
	return false
}
