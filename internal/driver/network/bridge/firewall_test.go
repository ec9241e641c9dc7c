package bridge

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/internal/nettest"
)

// member attaches a guest with an address of its own, and the bridge as its gateway.
func member(t *testing.T, c Config, port, mac, address, gateway string) *nettest.Guest {
	t.Helper()
	g := nettest.NewGuest(t)
	attachAs(t, c, g, port, mac)
	g.MustRun("ip", "addr", "add", address, "dev", "eth0")
	g.MustRun("ip", "route", "add", "default", "via", gateway)
	return g
}

// outside is a host beyond this one, which knows the way to every subnet of the tests.
func outside(t *testing.T) *nettest.Guest {
	t.Helper()
	g := nettest.NewGuest(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "vethout"
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsPid(g.PID)}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	run(t, "ip", "addr", "add", "198.51.100.1/24", "dev", "vethout")
	run(t, "ip", "link", "set", "vethout", "up")
	g.MustRun("ip", "addr", "add", "198.51.100.2/24", "dev", "eth0")
	g.MustRun("ip", "link", "set", "eth0", "up")
	g.MustRun("ip", "route", "add", "10.0.0.0/8", "via", "198.51.100.1")
	return g
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
}

// received counts the ICMP requests that a guest has got: what it was sent, not what came back.
func received(t *testing.T, g *nettest.Guest) string {
	t.Helper()
	for _, line := range strings.Split(g.MustRun("cat", "/proc/self/net/snmp"), "\n") {
		if f := strings.Fields(line); len(f) > 9 && f[0] == "Icmp:" && f[1] != "InMsgs" {
			return f[9] // InEchos
		}
	}
	t.Fatal("no counters of ICMP")
	return ""
}

func ping(g *nettest.Guest, args ...string) error {
	_, err := g.Run(append([]string{"busybox", "ping", "-c", "1", "-W", "1"}, args...)...)
	return err
}

func TestForgedSourcesEndAtTheBridge(t *testing.T) {
	nettest.Need(t, "dnsmasq", "busybox", "ip", "nsenter", "cat")
	a, b := config(t, "brfwa"), config(t, "brfwb")
	a.IPv4.NAT = false
	b.IPv4, b.IPv6 = &Family{Address: netip.MustParsePrefix("10.9.7.1/24"), Routing: true}, nil
	b.Firewall6 = false
	a.IPv4.Routes = []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24")}
	up(t, a)
	up(t, b)
	defer func() {
		if err := Down(t.Context(), b.Name, b.ID, b.Dir); err != nil {
			t.Error(err)
		}
		down(t, a)
	}()
	out := outside(t)
	g := member(t, a, "vethfwa", "00:16:3e:aa:00:01", "10.9.8.9/24", "10.9.8.1")
	for _, address := range []string{"10.77.0.5/32", "10.78.0.5/32", "10.9.7.9/32", "203.0.113.5/32"} {
		g.MustRun("ip", "addr", "add", address, "dev", "eth0")
	}
	run(t, "ip", "route", "add", "10.78.0.0/24", "dev", a.Name) // as a NIC's ipv4.routes
	for _, own := range []string{"10.9.8.9", "10.77.0.5", "10.78.0.5"} {
		if !eventually(t, func() bool { return ping(g, "-I", own, "198.51.100.2") == nil }) { // interfaces take their time to come up
			t.Errorf("not answered from %s, which is the network's", own)
		}
	}
	before := received(t, out)
	for _, forged := range []string{"10.9.7.9", "203.0.113.5"} {
		if err := ping(g, "-I", forged, "198.51.100.2"); err == nil {
			t.Errorf("answered from %s, which is not the network's", forged)
		}
	}
	if after := received(t, out); after != before {
		t.Errorf("forged packets came through: %s requests, then %s", before, after)
	}
	a.Firewall4 = false
	up(t, a)
	_ = ping(g, "-I", "203.0.113.5", "198.51.100.2")
	if received(t, out) == before {
		t.Error("nothing came through with the firewall off: the test proves nothing")
	}
}

// A network without IPv4 is no way out for packets of IPv4, although the host forwards them for others.
func TestAFamilyThatIsOffIsNotForwarded(t *testing.T) {
	nettest.Need(t, "dnsmasq", "busybox", "ip", "nsenter", "cat")
	c := config(t, "brfwoff")
	c.IPv4 = nil
	up(t, c)
	defer down(t, c)
	run(t, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv4/conf/"+c.Name+"/forwarding")
	out := outside(t)
	g := nettest.NewGuest(t)
	attachAs(t, c, g, "vethoff", "00:16:3e:aa:00:02")
	g.MustRun("ip", "addr", "add", "10.9.8.9/24", "dev", "eth0")
	g.MustRun("ip", "route", "add", "198.51.100.0/24", "dev", "eth0") // the host answers for its addresses on any interface
	g.MustRun("ip", "neigh", "replace", "198.51.100.2", "lladdr", c.HWAddr.String(), "dev", "eth0")
	g.MustRun("ip", "addr", "add", "fd42:9:8::9/64", "dev", "eth0", "nodad")
	if !eventually(t, func() bool { return ping(g, "fd42:9:8::1") == nil }) {
		t.Fatal("the gateway does not answer")
	}
	before := received(t, out)
	_ = ping(g, "198.51.100.2")
	if after := received(t, out); after != before {
		t.Errorf("IPv4 was forwarded: %s requests, then %s", before, after)
	}
	c.Firewall4 = false
	up(t, c)
	_ = ping(g, "198.51.100.2")
	if received(t, out) == before {
		t.Error("nothing came through with the firewall off: the test proves nothing")
	}
}

// One network's chain accepts for none other.
func TestAnAcceptIsForOneNetworkOnly(t *testing.T) {
	nettest.Need(t, "dnsmasq", "busybox", "ip", "nsenter")
	open, closed := config(t, "brfwopen"), config(t, "brfwshut")
	closed.IPv4 = &Family{Address: netip.MustParsePrefix("10.9.6.1/24")}
	closed.IPv6 = nil
	up(t, open)
	up(t, closed)
	defer func() {
		if err := Down(t.Context(), closed.Name, closed.ID, closed.Dir); err != nil {
			t.Error(err)
		}
		down(t, open)
	}()
	from := member(t, open, "vethopen", "00:16:3e:aa:00:03", "10.9.8.9/24", "10.9.8.1")
	to := member(t, closed, "vethshut", "00:16:3e:aa:00:04", "10.9.6.9/24", "10.9.6.1")
	for g, gateway := range map[*nettest.Guest]string{from: "10.9.8.1", to: "10.9.6.1"} {
		if !eventually(t, func() bool { return ping(g, gateway) == nil }) {
			t.Fatal("the gateway does not answer")
		}
	}
	if ping(from, "10.9.6.9") == nil || ping(to, "10.9.8.9") == nil {
		t.Error("a network without routing is reached through another's chain")
	}
}

func TestRulesOfAnotherNetworkStay(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	c := config(t, "brwhose")
	up(t, c)
	before := strings.Join(chainNames(t), " ")
	if err := Down(t.Context(), c.Name, "another", t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if _, err := netlink.LinkByName(c.Name); err != nil || strings.Join(chainNames(t), " ") != before {
		t.Errorf("what bears another identity is gone: %v, chains %v", err, chainNames(t))
	}
	down(t, c)
}

// An interface that was there before is neither taken over nor removed.
func TestAForeignInterfaceIsLeftAlone(t *testing.T) {
	nettest.Need(t, "ip", "dnsmasq")
	for _, args := range [][]string{
		{"link", "add", "brforeign", "type", "bridge"},
		{"link", "add", "brforeign", "type", "dummy"},
		{"link", "add", "brforeign", "type", "veth", "peer", "name", "brforeignp"},
		{"link", "add", "brforeign", "alias", "berth:another", "type", "bridge"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			if strings.Contains(string(out), "Unknown device type") {
				continue
			}
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		link, err := netlink.LinkByName("brforeign")
		if err != nil {
			t.Fatal(err)
		}
		c := config(t, "brforeign")
		if err := Up(t.Context(), c); err == nil || !strings.Contains(err.Error(), "brforeign") {
			t.Errorf("%v: error is %v", args, err)
		}
		if err := Down(t.Context(), c.Name, c.ID, c.Dir); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		now, err := netlink.LinkByName("brforeign")
		if err != nil || now.Attrs().Index != link.Attrs().Index || now.Attrs().HardwareAddr.String() != link.Attrs().HardwareAddr.String() {
			t.Errorf("%v: the interface was touched: %v", args, err)
		}
		if addrs, _ := netlink.AddrList(link, netlink.FAMILY_V4); len(addrs) > 0 {
			t.Errorf("%v: it was given %v", args, addrs)
		}
		run(t, "ip", "link", "del", "brforeign")
	}
}
