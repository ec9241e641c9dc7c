package bridge

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/hostroute"
	"github.com/berthd/berth/internal/nettest"
)

func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// plain is a bridge without DHCP and firewall.
func plain(t *testing.T, name string) Config {
	c := config(t, name)
	c.Firewall4, c.Firewall6, c.DNSMode = false, false, "none"
	c.IPv4 = &Family{Address: netip.MustParsePrefix("10.9.8.1/24"), Routing: true}
	c.IPv6 = &Family{Address: netip.MustParsePrefix("fd42:9:8::1/64"), Routing: true}
	return c
}

// nicOn gives a NIC on a bridge its routes.
func nicOn(t *testing.T, bridge string, routes ...string) hostroute.Owner {
	t.Helper()
	link, err := netlink.LinkByName(bridge)
	if err != nil {
		t.Fatal(err)
	}
	o := hostroute.Owner{File: filepath.Join(t.TempDir(), "nic"), Protocol: unix.RTPROT_BOOT}
	var want []netip.Prefix
	for _, r := range routes {
		want = append(want, netip.MustParsePrefix(r))
	}
	if err := o.Sync(link, want); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Remove(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// TestAnUpdateKeepsTheRoutesOfNICs: to another address of the subnet, to another subnet, to none and back.
func TestAnUpdateKeepsTheRoutesOfNICs(t *testing.T) {
	nettest.Need(t, "dnsmasq", "ip")
	was := plain(t, "brkeep")
	up(t, was)
	defer down(t, was)
	nicOn(t, "brkeep", "10.77.0.0/24", "fd77::/64")
	has := func(c Config, after string) {
		t.Helper()
		routes := ip(t, "route", "show", "dev", "brkeep") + ip(t, "-6", "route", "show", "dev", "brkeep")
		addresses := ip(t, "address", "show", "dev", "brkeep")
		if !strings.Contains(routes, "10.77.0.0/24") || c.IPv6 != nil && !strings.Contains(routes, "fd77::/64") {
			t.Errorf("after %s the routes are\n%s", after, routes)
		}
		for _, f := range []*Family{c.IPv4, c.IPv6} {
			if f != nil && !strings.Contains(addresses, f.Address.String()) {
				t.Errorf("after %s the addresses are\n%s", after, addresses)
			}
		}
		if c.IPv4 != nil && (strings.Count(addresses, "inet ") != 1 || strings.Contains(addresses, "secondary")) {
			t.Errorf("after %s the addresses are\n%s", after, addresses)
		}
	}
	for _, address := range []string{"10.9.8.2/24", "10.9.8.2/16", "10.10.0.1/24", "10.9.8.1/24", ""} {
		for _, address6 := range []string{"fd42:9:8::1/64", "fd42:9:8::1/80", ""} {
			c := was
			if c.IPv4 = nil; address != "" {
				c.IPv4 = &Family{Address: netip.MustParsePrefix(address), Routing: true}
			}
			if c.IPv6 = nil; address6 != "" {
				c.IPv6 = &Family{Address: netip.MustParsePrefix(address6), Routing: true}
			}
			up(t, c)
			has(c, address+" and "+address6)
			up(t, was)
			has(was, "the way back from "+address+" and "+address6)
		}
	}
}

// TestARouteOfTheHostStays when a network asks for one to the same destination, which is refused, and when it no longer does.
func TestARouteOfTheHostStays(t *testing.T) {
	nettest.Need(t, "dnsmasq", "ip")
	was, other := plain(t, "brmine"), plain(t, "brother")
	other.IPv4, other.IPv6 = &Family{Address: netip.MustParsePrefix("10.9.9.1/24")}, nil
	up(t, was)
	defer down(t, was)
	up(t, other)
	defer down(t, other)
	ip(t, "route", "add", "10.88.0.0/24", "dev", "brother")
	ip(t, "route", "add", "10.89.0.0/24", "dev", "brmine", "proto", "static") // as NetworkManager does
	route := func(list ...string) Config {
		c := was
		f := *was.IPv4
		for _, r := range list {
			f.Routes = append(f.Routes, netip.MustParsePrefix(r))
		}
		c.IPv4 = &f
		return c
	}
	for _, dst := range []string{"10.88.0.0/24", "10.89.0.0/24", "10.9.8.0/24", "10.9.9.0/24"} {
		if err := Up(t.Context(), route("10.90.0.0/24", dst)); api.StatusOf(err) != 400 || !errors.Is(err, syscall.EEXIST) || !strings.Contains(err.Error(), "ipv4.routes") {
			t.Errorf("a route to %s: %v", dst, err)
		}
		up(t, was)
	}
	up(t, route("10.90.0.0/24", "10.91.0.0/24"))
	up(t, route("10.91.0.0/24", "10.92.0.0/24"))
	routes := ip(t, "route")
	for _, want := range []string{
		"10.88.0.0/24 dev brother scope link", "10.89.0.0/24 dev brmine proto static scope link", "10.91.0.0/24 dev brmine proto static scope link",
		"10.92.0.0/24 dev brmine proto static scope link", "10.9.8.0/24 dev brmine proto kernel", "10.9.9.0/24 dev brother proto kernel",
	} {
		if !strings.Contains(routes, want) {
			t.Errorf("%q is not among\n%s", want, routes)
		}
	}
	if strings.Contains(routes, "10.90.0.0/24") {
		t.Errorf("a route that is not asked for any more is left:\n%s", routes)
	}
	up(t, was)
	if routes = ip(t, "route"); strings.Contains(routes, "10.91") || strings.Contains(routes, "10.92") || !strings.Contains(routes, "10.88.0.0/24 dev brother") {
		t.Errorf("without routes there are\n%s", routes)
	}
}

// TestARouteOfANetworkMayBeThatOfANIC: LXD lets the network have it; the NIC has it again afterwards.
func TestARouteOfANetworkMayBeThatOfANIC(t *testing.T) {
	nettest.Need(t, "dnsmasq", "ip")
	was := plain(t, "brboth")
	up(t, was)
	defer down(t, was)
	nic := nicOn(t, "brboth", "10.77.0.0/24")
	with := was
	with.IPv4 = &Family{Address: was.IPv4.Address, Routing: true, Routes: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24")}}
	is := func(want string) {
		t.Helper()
		if routes := ip(t, "route", "show", "10.77.0.0/24"); !strings.HasPrefix(routes, want) || want == "" && routes != "" {
			t.Errorf("the route is %q, not %q", routes, want)
		}
	}
	for range 2 {
		up(t, with)
		is("10.77.0.0/24 dev brboth proto static")
	}
	up(t, was)
	is("10.77.0.0/24 dev brboth scope link")
	up(t, with)
	if err := nic.Remove(); err != nil {
		t.Fatal(err)
	}
	is("10.77.0.0/24 dev brboth proto static")
	up(t, was)
	is("")
}

// TestRoutesOfAnOlderDaemonAreTheNetworks: it kept no record of them.
func TestRoutesOfAnOlderDaemonAreTheNetworks(t *testing.T) {
	nettest.Need(t, "dnsmasq", "ip")
	c := plain(t, "brolder")
	c.IPv4.Routes = []netip.Prefix{netip.MustParsePrefix("10.93.0.0/24")}
	up(t, c)
	defer down(t, c)
	if err := os.Remove(filepath.Join(c.Dir, routesFile)); err != nil {
		t.Fatal(err)
	}
	up(t, c)
	c.IPv4 = &Family{Address: c.IPv4.Address}
	up(t, c)
	if routes := ip(t, "route", "show", "dev", "brolder"); strings.Contains(routes, "10.93") {
		t.Errorf("the routes are\n%s", routes)
	}
}
