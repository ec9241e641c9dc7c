package bridge

import (
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/internal/nettest"
)

// TestOnlyAnInterfaceWithoutAddressesBecomesAPort: one that the host itself uses would lose its connection. An address that the kernel
// gives to each interface is none of that kind.
func TestOnlyAnInterfaceWithoutAddressesBecomesAPort(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	c := config(t, "brport")
	up(t, c)
	defer down(t, c)
	for _, test := range []struct {
		name, address string
		taken         bool
	}{
		{"prtnone", "", true}, {"prtlocal", "fe80::77/64", true}, {"prtfour", "192.0.2.7/24", false}, {"prtsix", "2001:db8::7/64", false}, {"prtula", "fd42:77::7/64", false},
	} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = test.name
		link := &netlink.Veth{LinkAttrs: attrs, PeerName: test.name + "p"}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(netlink.LinkAdd(link))
		if test.address != "" {
			addr, err := netlink.ParseAddr(test.address)
			must(err)
			must(netlink.AddrAdd(link, addr))
		}
		c.External = []string{test.name}
		err := Up(t.Context(), c)
		if (err == nil) != test.taken || HasPort(c.Name, test.name) != test.taken {
			t.Errorf("an interface with the address %q: a port: %v, %v", test.address, HasPort(c.Name, test.name), err)
		}
		c.External = nil
		must(netlink.LinkDel(link))
	}
}
