package nic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/driver/network/bridge"
	"github.com/berthd/berth/internal/netstate"
	"github.com/berthd/berth/internal/nettest"
	"github.com/berthd/berth/internal/spec"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// networks has one managed network and remembers what is reserved.
type networks map[string]bridge.Host

var managed = Network{Name: "br0t", IPv4: netip.MustParsePrefix("10.3.3.1/24"), DHCPv4: true, DNS: true}

func (networks) Network(_, name string) (Network, error) {
	if name != managed.Name {
		return Network{}, api.NotFound("Network not found")
	}
	return managed, nil
}
func (networks) Interface(parent string) (Network, bool) { return managed, parent == managed.Name }
func (n networks) Reserve(_ context.Context, _, file string, h bridge.Host) error {
	n[file] = h
	return nil
}
func (n networks) Conflict(_, file string, h bridge.Host) error {
	for other, o := range n {
		if other != file && o.IPv4.IsValid() && o.IPv4 == h.IPv4 {
			return api.BadRequest("IP address %q already defined on another NIC", h.IPv4)
		}
	}
	return nil
}
func (n networks) Release(_ context.Context, _, file string, _ net.HardwareAddr) error {
	delete(n, file)
	return nil
}

// running is a guest that NICs are plugged into.
type running struct{ guest *nettest.Guest }

// NetworkNamespaces shows the one that the guest has.
func (r running) NetworkNamespaces(_ context.Context, look func(*os.File) error) error {
	ns, err := r.NetworkNamespace()
	if err != nil {
		return err
	}
	return errors.Join(look(ns), ns.Close())
}

func (r running) NetworkNamespace() (*os.File, error) {
	return os.Open(r.guest.Namespace().Name())
}
func (running) Mount(context.Context, spec.Mount) error             { return errors.ErrUnsupported }
func (running) Unmount(context.Context, spec.Mount, []string) error { return errors.ErrUnsupported }
func (running) Mounted(context.Context, spec.Mount, []string) (bool, error) {
	return false, errors.ErrUnsupported
}
func (running) AllowDevice(context.Context, spec.DeviceRule) error { return errors.ErrUnsupported }

func instance(t *testing.T, devices map[string]device.Config) device.Instance {
	return device.Instance{Project: "default", Name: "c1", ID: "c1", Devices: devices, Config: map[string]string{}, DevicesPath: t.TempDir()}
}

func newBridge(t *testing.T, name string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, 1450
	br := &netlink.Bridge{LinkAttrs: attrs}
	must(t, netlink.LinkAdd(br))
	must(t, netlink.LinkSetUp(br))
	t.Cleanup(func() { must(t, netlink.LinkDel(br)) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func countLinks(t *testing.T) int {
	t.Helper()
	links, err := netlink.LinkList()
	must(t, err)
	return len(links)
}

func TestNICIsPluggedAndUnplugged(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	newBridge(t, "br0t")
	before := countLinks(t)
	known := networks{}
	m, g, ctx := New(known), nettest.NewGuest(t), t.Context()
	cfg := device.Config{"type": "nic", "network": "br0t", "ipv4.address": "10.3.3.9", "ipv4.routes": "10.4.4.0/24"}
	inst := instance(t, map[string]device.Config{"eth0": cfg})
	must(t, m.Validate(ctx, inst, "eth0", cfg))
	volatile, err := m.Defaults(inst, "eth0", cfg, nil)
	must(t, err)
	c, err := m.Start(ctx, inst, "eth0", cfg, volatile)
	must(t, err)
	for _, end := range []string{c.Volatile["host_name"], c.NICs[0].HostName} {
		link, err := netlink.LinkByName(end)
		must(t, err)
		if a := link.Attrs(); a.NumTxQueues != 1 || a.NumRxQueues != 1 {
			t.Errorf("%s has %d and %d queues: taking away what is not used holds up every other interface", end, a.NumTxQueues, a.NumRxQueues)
		}
	}
	must(t, m.Plug(ctx, running{g}, inst, "eth0", cfg, c))

	state, err := netstate.State(g.Namespace())
	must(t, err)
	eth0 := state["eth0"]
	if eth0.Hwaddr != volatile["hwaddr"] || eth0.Mtu != 1450 || eth0.State != "up" || eth0.HostName != c.Volatile["host_name"] {
		t.Errorf("eth0 is %+v, contribution %+v", eth0, c)
	}
	if h := known["c1.eth0"]; h.IPv4.String() != "10.3.3.9" || h.Name != "c1" || h.HWAddr.String() != volatile["hwaddr"] {
		t.Errorf("reserved is %+v", known)
	}
	host, err := netlink.LinkByName(c.Volatile["host_name"])
	must(t, err)
	if br, _ := netlink.LinkByName("br0t"); host.Attrs().MasterIndex != br.Attrs().Index || !strings.HasPrefix(host.Attrs().Name, "veth") {
		t.Errorf("host's end is %+v", host.Attrs())
	}
	if !hasRoute(t, "br0t", "10.4.4.0/24") {
		t.Error("route is missing")
	}

	changed := device.Config{"type": "nic", "network": "br0t", "ipv4.routes": "10.5.5.0/24"}
	volatile["host_name"] = c.Volatile["host_name"]
	must(t, m.Update(ctx, running{g}, inst, "eth0", cfg, changed, volatile))
	if hasRoute(t, "br0t", "10.4.4.0/24") || !hasRoute(t, "br0t", "10.5.5.0/24") {
		t.Error("routes are not updated")
	}

	for range 2 {
		must(t, m.Unplug(ctx, running{g}, inst, "eth0", changed, volatile))
	}
	state, err = netstate.State(g.Namespace())
	must(t, err)
	if _, ok := state["eth0"]; ok || countLinks(t) != before {
		t.Errorf("the NIC is inside or on the host: %v", state)
	}
	for range 2 {
		gone, err := m.Stop(ctx, inst, "eth0", changed, volatile)
		must(t, err)
		if v, ok := gone["host_name"]; !ok || v != "" {
			t.Errorf("stop keeps %v", gone)
		}
	}
	if countLinks(t) != before || hasRoute(t, "br0t", "10.5.5.0/24") {
		t.Error("the NIC is left")
	}
	must(t, m.Remove(ctx, inst, "eth0", changed, volatile))
	if len(known) != 0 {
		t.Errorf("%v is left reserved", known)
	}
}

func hasRoute(t *testing.T, dev, dst string) bool {
	t.Helper()
	out, err := exec.Command("ip", "route", "list", "dev", dev).Output()
	must(t, err)
	return strings.Contains(string(out), dst)
}

func TestStopFindsWhatACutOffStartLeft(t *testing.T) {
	nettest.Need(t, "ip")
	newBridge(t, "br1t")
	before := countLinks(t)
	m := New(networks{})
	cfg := device.Config{"type": "nic", "nictype": "bridged", "parent": "br1t"}
	inst := instance(t, map[string]device.Config{"eth0": cfg})
	for range 2 { // a second start replaces the first one's pair
		_, err := m.Start(t.Context(), inst, "eth0", cfg, nil)
		must(t, err)
	}
	if n := countLinks(t); n != before+2 {
		t.Errorf("%d interfaces more", n-before)
	}
	_, err := m.Stop(t.Context(), inst, "eth0", cfg, nil)
	must(t, err)
	if n := countLinks(t); n != before {
		t.Errorf("%d interfaces are left", n-before)
	}
}

func TestForeignInterfaceIsNotTouched(t *testing.T) {
	nettest.Need(t)
	newBridge(t, "vethmine")
	m := New(networks{})
	cfg := device.Config{"type": "nic", "nictype": "p2p", "host_name": "vethmine"}
	inst := instance(t, map[string]device.Config{"eth0": cfg})
	if _, err := m.Start(t.Context(), inst, "eth0", cfg, nil); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("error is %v", err)
	}
	_, err := m.Stop(t.Context(), inst, "eth0", cfg, map[string]string{"host_name": "vethmine"})
	must(t, err)
	if _, err := netlink.LinkByName("vethmine"); err != nil {
		t.Error("an interface of somebody else was removed")
	}
}

func TestLimits(t *testing.T) {
	nettest.Need(t, "tc")
	before := countLinks(t)
	m := New(networks{})
	cfg := device.Config{"type": "nic", "nictype": "p2p", "host_name": "vethlimit", "limits.ingress": "1Mbit", "limits.egress": "2Mbit"}
	inst := instance(t, map[string]device.Config{"eth0": cfg})
	c, err := m.Start(t.Context(), inst, "eth0", cfg, nil)
	must(t, err)
	show := func(args ...string) string {
		out, err := exec.Command("tc", args...).CombinedOutput()
		must(t, err)
		return string(out)
	}
	if out := show("class", "show", "dev", "vethlimit"); !strings.Contains(out, "rate 1Mbit") {
		t.Errorf("classes are %s", out)
	}
	ifb := (&nicSpec{owner: "c1/eth0"}).name("ifb", 0)
	filters := show("filter", "show", "dev", "vethlimit", "ingress")
	if _, err := netlink.LinkByName(ifb); err == nil {
		filters = show("class", "show", "dev", ifb)
	}
	if !strings.Contains(filters, "2Mbit") {
		t.Errorf("filters are %s", filters)
	}
	wider := device.Config{"type": "nic", "nictype": "p2p", "host_name": "vethlimit", "limits.max": "5Mbit"}
	newBridge(t, "brnotit")
	must(t, m.Update(t.Context(), nil, inst, "eth0", cfg, wider, map[string]string{"host_name": "brnotit"})) // another's by now
	if out := show("qdisc", "show", "dev", "brnotit"); strings.Contains(out, "htb") {
		t.Errorf("what is another's was limited: %s", out)
	}
	if out := show("class", "show", "dev", "vethlimit"); !strings.Contains(out, "rate 5Mbit") {
		t.Errorf("classes are %s", out)
	}
	_, err = m.Stop(t.Context(), inst, "eth0", wider, c.Volatile)
	must(t, err)
	if n := countLinks(t); n != before+1 { // the bridge
		t.Errorf("%d interfaces are left", n-before)
	}
}

// What bears the name of an instance's interface and was made for an earlier instance of that name is not touched.
func TestInterfacesOfAnEarlierInstanceAreNotOurs(t *testing.T) {
	nettest.Need(t)
	before := countLinks(t)
	m, ctx := New(networks{}), t.Context()
	cfg := device.Config{"type": "nic", "nictype": "p2p", "host_name": "vethearly"}
	inst := func(uuid string) device.Instance {
		in := instance(t, map[string]device.Config{"eth0": cfg})
		in.UUID = uuid
		in.Config["volatile.uuid"] = "33333333-0000-4000-8000-000000000000" // which two users have set
		return in
	}
	early, late := inst("11111111-0000-4000-8000-000000000000"), inst("22222222-0000-4000-8000-000000000000")
	c, err := m.Start(ctx, early, "eth0", cfg, nil)
	must(t, err)
	link, err := netlink.LinkByName("vethearly")
	must(t, err)
	if want := "berth:" + early.UUID + "/eth0"; link.Attrs().Alias != want {
		t.Errorf("alias is %q, not %q", link.Attrs().Alias, want)
	}
	_, err = m.Stop(ctx, late, "eth0", cfg, c.Volatile) // as a recovery of a cut-off start of the name does
	must(t, err)
	if _, err := m.Start(ctx, late, "eth0", cfg, nil); api.StatusOf(err) != 400 || !strings.Contains(err.Error(), "vethearly") {
		t.Errorf("error is %v", err)
	}
	for _, name := range []string{"vethearly", c.NICs[0].HostName} {
		now, err := netlink.LinkByName(name)
		if err != nil || name == "vethearly" && now.Attrs().Index != link.Attrs().Index {
			t.Errorf("%s of another instance is gone: %v", name, err)
		}
	}
	_, err = m.Stop(ctx, early, "eth0", cfg, c.Volatile)
	must(t, err)
	if n := countLinks(t); n != before {
		t.Errorf("%d interfaces are left", n-before)
	}
}

// TestEachDeviceHasAFileOfItsOwn: two of one file would take each other's reservations.
func TestEachDeviceHasAFileOfItsOwn(t *testing.T) {
	inst := instance(t, nil)
	for name, want := range map[string]string{"eth0": "c1.eth0", "a-b": "c1.a--b", "a/b": "c1.a-b"} {
		if got := hostFile(inst, name); got != want {
			t.Errorf("the file of %q is %q, not %q", name, got, want)
		}
	}
	names, of := []string{""}, map[string]string{}
	for range 6 {
		var longer []string
		for _, name := range names {
			longer = append(longer, name+"a", name+"-", name+"/")
		}
		for _, name := range longer {
			file := hostFile(inst, name)
			if other, taken := of[file]; taken {
				t.Fatalf("%q and %q both have the file %q", other, name, file)
			}
			of[file] = name
		}
		names = longer
	}
}

func TestMacvlan(t *testing.T) {
	nettest.Need(t, "nsenter")
	newBridge(t, "brmac")
	before := countLinks(t)
	m, g := New(networks{}), nettest.NewGuest(t)
	cfg := device.Config{"type": "nic", "nictype": "macvlan", "parent": "brmac", "name": "mv0"}
	inst := instance(t, map[string]device.Config{"eth0": cfg})
	must(t, m.Validate(t.Context(), inst, "eth0", cfg))
	c, err := m.Start(t.Context(), inst, "eth0", cfg, nil)
	must(t, err)
	must(t, m.Plug(t.Context(), running{g}, inst, "eth0", cfg, c))
	state, err := netstate.State(g.Namespace())
	must(t, err)
	if mv := state["mv0"]; mv.Hwaddr != c.Volatile["hwaddr"] || mv.State != "up" {
		t.Errorf("state is %+v", state)
	}
	must(t, m.Unplug(t.Context(), running{g}, inst, "eth0", cfg, c.Volatile))
	if state, err = netstate.State(g.Namespace()); err != nil || state["mv0"].State != "" {
		t.Errorf("inside are %+v (%v)", state, err)
	}
	_, err = m.Stop(t.Context(), inst, "eth0", cfg, c.Volatile)
	must(t, err)
	if n := countLinks(t); n != before {
		t.Errorf("%d interfaces are left", n-before)
	}
}

func TestValidate(t *testing.T) {
	m := New(networks{})
	with := func(kv ...string) device.Config {
		cfg := device.Config{"type": "nic", "network": "br0t"}
		for i := 0; i < len(kv); i += 2 {
			cfg[kv[i]] = kv[i+1]
		}
		return cfg
	}
	const (
		v4 = " (allowed: an address such as 10.0.0.9, without a prefix length)"
		v6 = " (allowed: an address such as fd42::9, without a prefix length)"
	)
	for _, test := range []struct {
		cfg  device.Config
		want string // empty: valid
	}{
		{with(), ""},
		{with("name", "eth7", "hwaddr", "00:16:3e:00:00:01", "host_name", "vethx", "ipv4.address", "10.3.3.7"), ""},
		{with("foo", "bar"), `Invalid device option "foo"`},
		{with("mtu", "1400"), `Cannot use "mtu" property in conjunction with "network" property`},
		{with("nictype", "bridged"), `Cannot use "nictype" property in conjunction with "network" property`},
		{with("hwaddr", "x"), `Invalid value for device option "hwaddr": Invalid MAC address, must be 6 bytes of hex separated by colons`},
		{with("hwaddr", "01:00:5e:00:00:01"), `Invalid value for device option "hwaddr": Invalid MAC address "01:00:5e:00:00:01": a multicast address (its first byte is odd)`},
		{with("hwaddr", "00:00:00:00:00:00"), `Invalid value for device option "hwaddr": Invalid MAC address "00:00:00:00:00:00": all zeros is no interface's address`},
		{with("name", "lo"), `Invalid value for device option "name": Network interface can't be "lo": each instance has its own`},
		{with("name", "all"), `Invalid value for device option "name": Network interface can't be "all": the kernel has no interface of that name`},
		{with("host_name", "lo"), `Invalid value for device option "host_name": Network interface can't be "lo": the host has one`},
		{with("host_name", "default"), `Invalid value for device option "host_name": Network interface can't be "default": the kernel has no interface of that name`},
		{with("name", "waytoolongnameforaninterface"), `Invalid value for device option "name": Network interface is too long (maximum 15 characters)`},
		{with("name", "a/b"), `Invalid value for device option "name": Network interface contains invalid characters`},
		{with("ipv4.routes", "1.2.3.4/33"), `Invalid value for device option "ipv4.routes": Item "1.2.3.4/33": invalid CIDR address: 1.2.3.4/33 (allowed: networks such as 10.0.0.0/24 or 10.0.0.9/32, with commas between them)`},
		{with("ipv4.address", "10.99.1.1"), `Device IP address "10.99.1.1" not within network "br0t" subnet`},
		{with("ipv4.address", "x"), `Invalid value for device option "ipv4.address": Not an IPv4 address "x"` + v4},
		{with("ipv4.address", "10.3.3.9/32"), `Invalid value for device option "ipv4.address": Not an IPv4 address "10.3.3.9/32"` + v4},
		{with("ipv6.address", "fd42::9/128"), `Invalid value for device option "ipv6.address": Not an IPv6 address "fd42::9/128"` + v6},
		{device.Config{"type": "nic", "nictype": "bridged", "parent": "br0t", "ipv4.address": "10.3.3.9/32"}, `Invalid value for device option "ipv4.address": Not an IPv4 address "10.3.3.9/32"` + v4},
		{device.Config{"type": "nic", "nictype": "bridged", "parent": "theirs", "ipv4.address": "10.3.3.9/32"}, `Invalid value for device option "ipv4.address": Not an IPv4 address "10.3.3.9/32"` + v4},
		{device.Config{"type": "nic", "nictype": "bridged", "parent": "theirs", "ipv6.address": "fd42::9/128"}, `Invalid value for device option "ipv6.address": Not an IPv6 address "fd42::9/128"` + v6},
		{device.Config{"type": "nic", "nictype": "p2p", "ipv4.address": "10.3.3.9/32"}, `Invalid device option "ipv4.address"`},
		{device.Config{"type": "nic", "nictype": "macvlan", "parent": "theirs", "ipv4.address": "10.3.3.9/32"}, `Invalid device option "ipv4.address"`},
		{device.Config{"type": "nic", "nictype": "p2p", "ipv4.routes": "10.3.3.9"}, `Invalid value for device option "ipv4.routes": Item "10.3.3.9": invalid CIDR address: 10.3.3.9 (allowed: networks such as 10.0.0.0/24 or 10.0.0.9/32, with commas between them)`},
		{device.Config{"type": "nic", "nictype": "p2p", "ipv4.routes": "10.3.3.9/32,10.4.0.0/16", "ipv6.routes": "fd42::9/128"}, ""},
		{with("ipv4.address", "10.3.3.1"), `IP address "10.3.3.1" is assigned to parent managed network device "br0t"`},
		{with("ipv4.address", "none"), "Cannot have ipv4.address as none unless using security.ipv4_filtering"},
		{with("ipv6.address", "fd42::9"), `Cannot specify "ipv6.address" when DHCP or "ipv6.dhcp.stateful" are disabled (unless using security.ipv6_filtering) on network "br0t"`},
		{with("boot.priority", "x"), `Invalid value for device option "boot.priority": Invalid value for uint32 "x": strconv.ParseUint: parsing "x": invalid syntax`},
		{device.Config{"type": "nic", "network": "nope"}, `Failed loading device "eth0": Failed to load network "nope" for project "default": Network not found`},
		{device.Config{"type": "nic"}, `Failed loading device "eth0": Unsupported device type`},
		{device.Config{"type": "nic", "nictype": "foo"}, `Failed loading device "eth0": Unsupported device type`},
		{device.Config{"type": "nic", "nictype": "bridged"}, `Invalid value for device option "parent": Required value`},
		{device.Config{"type": "nic", "nictype": "p2p"}, ""},
		{device.Config{"type": "nic", "nictype": "p2p", "parent": "x"}, `Invalid device option "parent"`},
	} {
		err := m.Validate(t.Context(), instance(t, map[string]device.Config{"eth0": test.cfg}), "eth0", test.cfg)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != test.want || err != nil && api.StatusOf(err) != 400 {
			t.Errorf("%v: got %q", test.cfg, got)
		}
	}
	two := instance(t, map[string]device.Config{"eth0": with(), "eth1": with()})
	if err := m.Validate(t.Context(), two, "eth1", with()); err == nil || err.Error() != `Instance DNS name "c1" already used on network` {
		t.Errorf("two NICs on one network: %v", err)
	}
}

func TestCheckRefusesWhatAnotherNICHas(t *testing.T) {
	m := New(networks{"c2.eth0": {IPv4: netip.MustParseAddr("10.3.3.9")}})
	cfg := device.Config{"type": "nic", "network": "br0t", "ipv4.address": "10.3.3.9"}
	inst := instance(t, map[string]device.Config{"eth0": cfg})
	must(t, m.Check(t.Context(), inst, "eth0", cfg)) // a copy that is being made
	inst.Config["volatile.eth0.hwaddr"] = "00:16:3e:00:00:01"
	if err := m.Check(t.Context(), inst, "eth0", cfg); err == nil || err.Error() != `IP address "10.3.3.9" already defined on another NIC` {
		t.Errorf("error is %v", err)
	}
}

func TestDefaultsAreUnique(t *testing.T) {
	m := New(networks{})
	inst := instance(t, map[string]device.Config{
		"a": {"type": "nic", "name": "eth0"}, "b": {"type": "nic"}, "c": {"type": "nic"},
	})
	inst.Config["volatile.b.name"] = "eth1"
	set, err := m.Defaults(inst, "c", inst.Devices["c"], nil)
	must(t, err)
	if set["name"] != "eth2" || !strings.HasPrefix(set["hwaddr"], "00:16:3e:") {
		t.Errorf("defaults are %v", set)
	}
	set, err = m.Defaults(inst, "b", inst.Devices["b"], map[string]string{"name": "eth1", "hwaddr": "00:16:3e:00:00:01"})
	must(t, err)
	if len(set) != 0 {
		t.Errorf("defaults replace %v", set)
	}
}

func TestHostFile(t *testing.T) {
	for _, test := range [][4]string{
		{"default", "c1", "eth0", "c1.eth0"}, {"p", "c1", "eth-0", "p_c1.eth--0"}, {"default", "c1", "/foo", "c1.-foo"},
	} {
		if got := hostFile(device.Instance{Project: test[0], Name: test[1]}, test[2]); got != test[3] {
			t.Errorf("%v: %s", test[:3], got)
		}
	}
}

// An address on a bridge that is not the server's was taken and had no effect.
func TestAnAddressNeedsAManagedNetwork(t *testing.T) {
	m := New(networks{})
	for parent, want := range map[string]string{
		"br0t": "", "theirs": "Cannot use manually specified ipv4.address when using unmanaged parent bridge",
	} {
		cfg := device.Config{"type": "nic", "nictype": "bridged", "parent": parent, "ipv4.address": "10.3.3.9"}
		inst := instance(t, map[string]device.Config{"eth0": cfg})
		if err := m.Validate(t.Context(), inst, "eth0", cfg); err != nil {
			t.Errorf("%s: one that is there already: %v", parent, err)
		}
		err := m.Check(t.Context(), inst, "eth0", cfg)
		if got := fmt.Sprint(err); err != nil && (got != want || api.StatusOf(err) != 400) || err == nil && want != "" {
			t.Errorf("%s: %v", parent, err)
		}
	}
}

// Two NICs that are to be called the same inside are refused where they meet, and not in a profile, which may be meant for others.
func TestTwoNICsOfOneName(t *testing.T) {
	devices := map[string]device.Config{
		"a": {"type": "nic", "nictype": "p2p", "name": "eth0"}, "b": {"type": "nic", "nictype": "p2p", "name": "eth0"},
		"c": {"type": "nic", "nictype": "p2p", "name": "eth1"}, "d": {"type": "nic", "nictype": "p2p"}, "e": {"type": "nic", "nictype": "p2p"},
		"disk": {"type": "disk", "name": "eth1"},
	}
	for name, twice := range map[string]bool{"a": true, "b": true, "c": false, "d": false} {
		err := (&Module{}).Validate(t.Context(), device.Instance{Devices: devices}, name, devices[name])
		want := `Invalid value for device option "name": Duplicate NIC name detected "eth0"`
		if twice && (err == nil || err.Error() != want || api.StatusOf(err) != http.StatusBadRequest) || !twice && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := (&Module{}).Validate(t.Context(), device.Instance{Devices: devices, Profile: true}, name, devices[name]); err != nil {
			t.Errorf("%s in a profile: %v", name, err)
		}
	}
}
