package bridge

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/internal/nettest"
)

func TestMain(m *testing.M) {
	if os.Getenv(helperDir) != "" { // started by a test, in its namespaces
		os.Exit(m.Run())
	}
	nettest.Main(m)
}

func config(t *testing.T, name string) Config {
	mac, _ := net.ParseMAC("00:16:3e:01:02:03")
	return Config{
		Name: name, ID: "5f0c-" + name, Dir: filepath.Join(nettest.Dir(t), name), HWAddr: mac, Firewall4: true, Firewall6: true,
		IPv4: &Family{Address: netip.MustParsePrefix("10.9.8.1/24"), DHCP: true, NAT: true, Routing: true},
		IPv6: &Family{Address: netip.MustParsePrefix("fd42:9:8::1/64"), DHCP: true, Stateful: true, NAT: true, Routing: true},
	}
}

func always(c Config) func() (Config, error) { return func() (Config, error) { return c, nil } }

func up(t *testing.T, c Config) {
	t.Helper()
	if err := Up(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func down(t *testing.T, c Config) {
	t.Helper()
	if err := Down(t.Context(), c.Name, c.ID, c.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := netlink.LinkByName(c.Name); err == nil {
		t.Errorf("interface %s is left", c.Name)
	}
	if tables := tableNames(t); len(tables) > 0 {
		t.Errorf("tables %v are left", tables)
	}
	if Running(c.Dir) {
		t.Error("dnsmasq is left")
	}
}

func tableNames(t *testing.T) []string {
	t.Helper()
	tables, err := new(nftables.Conn).ListTables()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, table := range tables {
		names = append(names, table.Name)
	}
	return names
}

// attach connects a guest to the bridge as a NIC would be.
func attach(t *testing.T, c Config, g *nettest.Guest, mac string) {
	t.Helper()
	attachAs(t, c, g, "vethtest", mac)
}

func attachAs(t *testing.T, c Config, g *nettest.Guest, port, mac string) {
	t.Helper()
	hw, _ := net.ParseMAC(mac)
	bridge, err := netlink.LinkByName(c.Name)
	if err != nil {
		t.Fatal(err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = port, bridge.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerHardwareAddr: hw, PeerNamespace: netlink.NsPid(g.PID)}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	// The kernel removes it some time after the guest has gone, and until then the next test could not use its name.
	t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	if err := netlink.LinkSetUp(veth); err != nil {
		t.Fatal(err)
	}
	g.MustRun("ip", "link", "set", "lo", "up")
	g.MustRun("ip", "link", "set", "eth0", "up")
}

func TestGuestGetsALease(t *testing.T) {
	nettest.Need(t, "dnsmasq", "busybox", "ip", "nsenter")
	c := config(t, "brlease")
	up(t, c)
	defer down(t, c)
	const mac = "00:16:3e:aa:bb:cc"
	hw, _ := net.ParseMAC(mac)
	if changed, err := SetHost(c.Dir, "c1.eth0", Host{HWAddr: hw, IPv4: netip.MustParseAddr("10.9.8.77"), Name: "c1"}); err != nil || !changed {
		t.Fatal(changed, err)
	}
	if err := ReloadDnsmasq(t.Context(), c.Dir); err != nil {
		t.Fatal(err)
	}
	g := nettest.NewGuest(t)
	attach(t, c, g, mac)
	out := g.MustRun("busybox", "udhcpc", "-f", "-i", "eth0", "-n", "-q", "-t", "10", "-T", "1", "-s", "/bin/true")
	if !strings.Contains(out, "lease of 10.9.8.77 obtained") {
		t.Fatalf("the client says %s", out)
	}
	leases, err := Leases(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(leases) != 1 || leases[0].HWAddr != mac || leases[0].Address.String() != "10.9.8.77" || leases[0].Hostname != "c1" {
		t.Fatalf("leases are %+v", leases)
	}
	if err := DropLeases(t.Context(), c.Dir, always(c), hw, false); err != nil {
		t.Fatal(err)
	}
	if leases, err := Leases(c.Dir); err != nil || len(leases) != 0 || !Running(c.Dir) {
		t.Fatalf("leases are %+v, %v, dnsmasq runs: %v", leases, err, Running(c.Dir))
	}
}

// Leases that are dropped at once cost one restart of dnsmasq, and all are gone.
func TestLeasesAreDroppedTogether(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	c := config(t, "brdrop")
	up(t, c)
	defer down(t, c)
	if err := StopDnsmasq(t.Context(), c.Dir); err != nil {
		t.Fatal(err)
	}
	const clients = 20
	var file strings.Builder
	for n := range clients {
		fmt.Fprintf(&file, "4102444800 00:16:3e:00:00:%02x 10.9.8.%d c%d *\n", n, 100+n, n)
	}
	file.WriteString("duid 00:01:00:01:2f:00:00:00:00:16:3e:00:00:01\n4102444800 1048576 fd42:9:8::77 c6 00:03:00:01:00:16:3e:00:00:00\n")
	if err := os.WriteFile(filepath.Join(c.Dir, leasesFile), []byte(file.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	up(t, c)
	unlock, err := processes.lock(t.Context(), c.Dir) // as if a restart for somebody else were under way
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			if err := DropLeases(t.Context(), c.Dir, always(c), net.HardwareAddr{0, 0x16, 0x3e, 0, 0, byte(n)}, false); err != nil {
				t.Error(err)
			}
		})
	}
	all := eventually(t, func() bool {
		waitingMu.Lock()
		defer waitingMu.Unlock()
		d := waiting[c.Dir]
		return d != nil && len(d.macs) == clients
	})
	unlock()
	wg.Wait()
	if !all {
		t.Error("not all have joined the others")
	}
	if leases, err := Leases(c.Dir); err != nil || len(leases) != 0 || !Running(c.Dir) || len(waiting) > 0 {
		t.Errorf("leases are %+v, %v, dnsmasq runs: %v", leases, err, Running(c.Dir))
	}
}

// eventually polls until a condition holds that nothing announces; false if it does not in ten seconds.
func eventually(t *testing.T, holds func() bool) bool {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.After(10 * time.Second); ; {
		if holds() {
			return true
		}
		select {
		case <-tick.C:
		case <-end:
			return false
		}
	}
}

// A lease may be given before dnsmasq is told of the client's name, and has it once it is.
func TestALeaseIsNamedAfterItIsGiven(t *testing.T) {
	nettest.Need(t, "dnsmasq", "busybox", "ip", "nsenter")
	c := config(t, "brname")
	up(t, c)
	defer down(t, c)
	const mac = "00:16:3e:aa:bb:ce"
	hw, _ := net.ParseMAC(mac)
	g := nettest.NewGuest(t)
	attach(t, c, g, mac)
	g.MustRun("busybox", "udhcpc", "-f", "-i", "eth0", "-n", "-q", "-t", "10", "-T", "1", "-x", "hostname:liar", "-s", "/bin/true")
	if _, err := SetHost(c.Dir, "c1.eth0", Host{HWAddr: hw, Name: "c1"}); err != nil {
		t.Fatal(err)
	}
	if err := ReloadDnsmasq(t.Context(), c.Dir); err != nil {
		t.Fatal(err)
	}
	var leases []Lease
	named := eventually(t, func() bool {
		leases, _ = Leases(c.Dir)
		return len(leases) == 1 && leases[0].Hostname == "c1"
	})
	if !named {
		t.Errorf("leases are %+v", leases)
	}
}

// In managed mode a client is called what its instance is, or nothing: whatever it calls itself, and whatever addresses it
// makes up inside.
func TestAClientDoesNotNameItself(t *testing.T) {
	nettest.Need(t, "dnsmasq", "busybox", "ip", "nsenter")
	c := config(t, "brnames")
	c.DNSMode = "managed"
	up(t, c)
	defer down(t, c)
	const mac = "00:16:3e:aa:bb:cf"
	hw, _ := net.ParseMAC(mac)
	if _, err := SetHost(c.Dir, "c1.eth0", Host{HWAddr: hw, Name: "c1"}); err != nil {
		t.Fatal(err)
	}
	if err := ReloadDnsmasq(t.Context(), c.Dir); err != nil {
		t.Fatal(err)
	}
	g := nettest.NewGuest(t)
	attach(t, c, g, mac)
	g.MustRun("ip", "link", "add", "link", "eth0", "name", "extra", "address", "00:16:3e:ee:ee:ee", "type", "macvlan", "mode", "bridge")
	g.MustRun("ip", "link", "set", "extra", "up")
	ask := func(device, name string) {
		t.Helper()
		g.MustRun("busybox", "udhcpc", "-f", "-i", device, "-n", "-q", "-t", "10", "-T", "1", "-x", "hostname:"+name, "-F", name+".lxd", "-s", "/bin/true")
	}
	g.MustRun("ip", "addr", "add", "10.9.8.250/24", "dev", "eth0")
	known := func(name string) bool {
		out, err := g.Run("busybox", "nslookup", "-type=a", name+".lxd", "10.9.8.1")
		return err == nil && strings.Contains(out, name+".lxd\nAddress")
	}
	ask("eth0", "liar")
	for _, forged := range []string{"wpad", "victim", "_gateway"} {
		ask("extra", forged)
		if forged != "_gateway" && known(forged) {
			t.Errorf("a client has registered %s", forged)
		}
	}
	if known("liar") {
		t.Error("an instance has registered a name that it chose")
	}
	if !known("c1") || !known("_gateway") {
		t.Errorf("c1 is known: %v, the gateway: %v", known("c1"), known("_gateway"))
	}
	leases, err := Leases(c.Dir)
	if err != nil || len(leases) != 2 {
		t.Fatalf("leases are %+v, %v", leases, err)
	}
	for _, l := range leases {
		if l.Hostname != "" && (l.Hostname != "c1" || l.HWAddr != mac) {
			t.Errorf("a lease is %+v", l)
		}
	}
	c.DNSMode = "dynamic"
	up(t, c)
	ask("extra", "wpad")
	if !eventually(t, func() bool { return known("wpad") }) {
		t.Error("in dynamic mode a client has not registered its name: the test proves nothing")
	}
	c.DNSMode = "managed"
	up(t, c)
	if !eventually(t, func() bool { return known("c1") }) || known("wpad") {
		t.Errorf("back in managed mode c1 is known: %v, wpad: %v", known("c1"), known("wpad"))
	}
}

// What a client that is gone has asked for and dnsmasq has not read yet must not become a lease: no lease is to be seen, and
// still the socket in which the request waits goes.
func TestDroppingEndsRequestsUnderWay(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	c := config(t, "brasked")
	up(t, c)
	defer down(t, c)
	pid := func() string { return read(filepath.Join(c.Dir, pidFile)) }
	first, hw := pid(), net.HardwareAddr{0, 0x16, 0x3e, 0, 0, 1}
	if err := DropLeases(t.Context(), c.Dir, always(c), hw, false); err != nil || pid() != first {
		t.Errorf("a client that never asked costs a restart: %s, then %s, %v", first, pid(), err)
	}
	if err := DropLeases(t.Context(), c.Dir, always(c), hw, true); err != nil || pid() == first || !Running(c.Dir) {
		t.Errorf("dnsmasq goes on with what it was asked: %s, then %s, %v", first, pid(), err)
	}
}

// The outside has no route back into the bridge's subnet, so an answer proves the NAT.
func TestGuestReachesTheOutsideThroughNAT(t *testing.T) {
	nettest.Need(t, "dnsmasq", "busybox", "ip", "nsenter")
	c := config(t, "brnat")
	up(t, c)
	defer down(t, c)
	inside, outside := nettest.NewGuest(t), nettest.NewGuest(t)
	attach(t, c, inside, "00:16:3e:aa:bb:dd")
	inside.MustRun("ip", "addr", "add", "10.9.8.9/24", "dev", "eth0")
	inside.MustRun("ip", "route", "add", "default", "via", "10.9.8.1")
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "vethout"
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsPid(outside.PID)}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	if out, err := exec.Command("ip", "addr", "add", "198.51.100.1/24", "dev", "vethout").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		t.Fatal(err)
	}
	outside.MustRun("ip", "addr", "add", "198.51.100.2/24", "dev", "eth0")
	outside.MustRun("ip", "link", "set", "eth0", "up")
	inside.MustRun("busybox", "ping", "-c", "1", "-W", "5", "198.51.100.2")
	c.IPv4.NAT = false
	up(t, c)
	if out, err := inside.Run("busybox", "ping", "-c", "1", "-W", "1", "198.51.100.2"); err == nil {
		t.Errorf("answered without NAT: %s", out)
	}
}

func TestUpAgainChangesNothing(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	c := config(t, "bragain")
	c.IPv4.Routes = []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24")}
	up(t, c)
	defer down(t, c)
	before, ok := findDnsmasq(c.Dir)
	if !ok {
		t.Fatal("dnsmasq does not run")
	}
	before.close()
	out, err := exec.Command("ip", "route", "add", "10.78.0.0/24", "via", "10.9.8.5", "dev", c.Name).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	rules := chainNames(t)
	up(t, c)
	after, ok := findDnsmasq(c.Dir)
	if !ok || after.record != before.record {
		t.Fatal("dnsmasq was started again")
	}
	after.close()
	if now := chainNames(t); strings.Join(now, " ") != strings.Join(rules, " ") || len(now) != 4 {
		t.Errorf("chains are %v, were %v", now, rules)
	}
	routes, _ := exec.Command("ip", "route", "list", "dev", c.Name).Output()
	for _, want := range []string{"10.77.0.0/24", "10.78.0.0/24 via"} {
		if !strings.Contains(string(routes), want) {
			t.Errorf("route %s is gone:\n%s", want, routes)
		}
	}
}

func chainNames(t *testing.T) []string {
	t.Helper()
	chains, err := new(nftables.Conn).ListChains()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, ch := range chains {
		names = append(names, ch.Name)
	}
	return names
}

func TestChangesTakeEffect(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	c := config(t, "brchange")
	up(t, c)
	defer down(t, c)
	c.MTU = 1400
	c.IPv4.Address = netip.MustParsePrefix("10.9.9.1/24")
	c.IPv4.NAT, c.Firewall4, c.Firewall6, c.IPv6 = false, false, false, nil
	c.RawDnsmasq = "# raw"
	up(t, c)
	link, _ := netlink.LinkByName(c.Name)
	if link.Attrs().MTU != 1400 {
		t.Errorf("mtu is %d", link.Attrs().MTU)
	}
	addrs, _ := netlink.AddrList(link, netlink.FAMILY_ALL)
	if len(addrs) != 1 || addrs[0].IPNet.String() != "10.9.9.1/24" {
		t.Errorf("addresses are %v", addrs)
	}
	if tables := tableNames(t); len(tables) != 0 {
		t.Errorf("tables %v are left without rules", tables)
	}
	if got := read("/proc/sys/net/ipv6/conf/" + c.Name + "/disable_ipv6"); got != "1" {
		t.Errorf("disable_ipv6 is %s", got)
	}
	p, ok := findDnsmasq(c.Dir)
	if !ok {
		t.Fatal("dnsmasq does not run")
	}
	defer p.close()
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.record.PID))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(line), "fd42") || !strings.Contains(string(line), "10.9.9.2,10.9.9.254") {
		t.Errorf("dnsmasq runs as %q", line)
	}
	c.IPv4 = nil
	up(t, c)
	for _, name := range []string{pidFile, leasesFile} {
		if _, err := os.Stat(filepath.Join(c.Dir, name)); err == nil {
			t.Errorf("%s is left without addresses", name)
		}
	}
}

func TestDnsmasqMistakeIsTold(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	c := config(t, "brbad")
	c.RawDnsmasq = "no-such-option"
	err := Up(t.Context(), c)
	defer down(t, c)
	if err == nil || !strings.Contains(err.Error(), "no-such-option") && !strings.Contains(err.Error(), "bad option") {
		t.Fatalf("error is %v", err)
	}
}

func TestChooseAvoidsWhatTheHostUses(t *testing.T) {
	nettest.Need(t, "ip")
	for _, args := range [][]string{
		{"link", "add", "brchoose", "type", "bridge"},
		{"addr", "add", "10.0.0.1/9", "dev", "brchoose"},
		{"link", "set", "brchoose", "up"},
		{"route", "add", "10.128.0.0/13", "dev", "brchoose"},
		{"route", "add", "10.0.0.0/8", "dev", "brchoose"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	defer func() { _ = exec.Command("ip", "link", "del", "brchoose").Run() }()
	for range 50 {
		p, err := ChooseIPv4(nil)
		if err != nil {
			t.Fatal(err)
		}
		if p.Overlaps(netip.MustParsePrefix("10.128.0.0/13")) {
			t.Fatalf("%s is routed elsewhere", p)
		}
	}
	if _, err := ChooseIPv4([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}); err == nil {
		t.Error("a subnet is found where all are taken")
	}
	if p, err := ChooseIPv6(nil); err != nil || p.Bits() != 64 || p.Addr().As16()[15] != 1 {
		t.Errorf("IPv6 choice is %s, %v", p, err)
	}
}
