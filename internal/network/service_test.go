package network

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/network/bridge"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/nettest"
	"github.com/berthd/berth/internal/store"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// daemon is a service as it is after a start on the given store and folder.
func daemon(t *testing.T, engine store.Engine, dir string) *Service {
	t.Helper()
	st := store.New(engine)
	j := journal.New(st)
	s := New(Deps{Store: st, Journal: j, Events: event.Nobody{}, Dir: dir})
	if err := st.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := j.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Start(t.Context())
	return s
}

func post(name string, config map[string]string) api.NetworksPost {
	return api.NetworksPost{Name: name, NetworkPut: api.NetworkPut{Config: config}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func exists(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

func TestLifeOfANetwork(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, engine, dir := t.Context(), store.NewMemory(), nettest.Dir(t)
	s := daemon(t, engine, dir)
	must(t, s.Create(ctx, "default", post("brlife", nil)))
	n, rev, err := s.Get(ctx, "default", "brlife")
	must(t, err)
	if n.Config["ipv4.nat"] != "true" || n.Config["ipv6.nat"] != "true" || n.Status != "Created" || rev == 0 {
		t.Fatalf("network is %+v", n)
	}
	p := netip.MustParsePrefix(n.Config["ipv4.address"])
	if !netip.MustParsePrefix("10.0.0.0/8").Contains(p.Addr()) || p.Bits() != 24 {
		t.Errorf("chosen address is %s", p)
	}
	state, err := s.State(ctx, "default", "brlife")
	must(t, err)
	mac := state.Hwaddr

	must(t, s.Patch(ctx, "default", "brlife", Patch{Config: map[string]string{"bridge.mtu": "1400", "ipv6.address": "none"}}, nil))
	state, err = s.State(ctx, "default", "brlife")
	must(t, err)
	if state.Mtu != 1400 || len(state.Addresses) != 1 {
		t.Errorf("state is %+v", state)
	}
	leases, err := s.Leases(ctx, "default", "brlife")
	must(t, err)
	if len(leases) != 1 || leases[0].Hostname != "brlife.gw" || leases[0].Type != "gateway" {
		t.Errorf("leases are %+v", leases)
	}

	// The daemon goes and comes back; then the host loses the bridge meanwhile.
	s = daemon(t, engine, dir)
	if !bridge.Running(s.dir("brlife")) {
		t.Error("dnsmasq does not run after a restart")
	}
	r, _ := s.byInterface("brlife")
	must(t, bridge.Down(ctx, "brlife", r.UUID, s.dir("brlife")))
	s = daemon(t, engine, dir)
	state, err = s.State(ctx, "default", "brlife")
	must(t, err)
	if state.Hwaddr != mac || state.Mtu != 1400 {
		t.Errorf("after a restart the state is %+v, the address was %s", state, mac)
	}

	must(t, s.Rename(ctx, "default", "brlife", api.NetworkPost{Name: "brnew"}))
	if exists("brlife") || !exists("brnew") || !bridge.Running(s.dir("brnew")) {
		t.Error("the rename is not whole")
	}
	must(t, s.Delete(ctx, "default", "brnew"))
	if _, _, err := s.Get(ctx, "default", "brnew"); !api.IsNotFound(err) || exists("brnew") {
		t.Errorf("the network is left: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

func TestCutOffChangesAreCleared(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, engine, dir := t.Context(), store.NewMemory(), nettest.Dir(t)
	s := daemon(t, engine, dir)
	config := map[string]string{"ipv4.address": "10.5.5.1/24", "ipv6.address": "none"}

	// A creation that got as far as the bridge.
	r := record{Project: "default", Name: "brcut", Type: "bridge", UUID: uuid.NewString(), Config: config, HWAddr: randomMAC()}
	_, err := s.Journal.Begin(ctx, kindCreate, change{Project: "default", Name: "brcut", UUID: r.UUID})
	must(t, err)
	must(t, s.up(ctx, r))
	s = daemon(t, engine, dir)
	if exists("brcut") || s.Journal.Pending() != 0 {
		t.Fatal("a creation that was cut off is left")
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Fatalf("%v is left", left)
	}

	// A rename that got as far as the new bridge.
	must(t, s.Create(ctx, "default", post("brcut", config)))
	kept, _ := s.byInterface("brcut")
	r = *kept
	_, err = s.Journal.Begin(ctx, kindRename, change{Project: "default", Name: "brcut", New: "brother", UUID: r.UUID})
	must(t, err)
	must(t, bridge.Down(ctx, "brcut", r.UUID, s.dir("brcut")))
	must(t, os.Rename(s.dir("brcut"), s.dir("brother")))
	r.Name = "brother"
	must(t, s.up(ctx, r))
	s = daemon(t, engine, dir)
	if exists("brother") || !exists("brcut") || !bridge.Running(s.dir("brcut")) {
		t.Fatal("a rename that was cut off is not undone")
	}

	// A deletion that was only begun.
	_, err = s.Journal.Begin(ctx, kindDelete, change{Project: "default", Name: "brcut", UUID: r.UUID})
	must(t, err)
	s = daemon(t, engine, dir)
	if exists("brcut") || len(s.Managed("default")) != 0 {
		t.Fatal("a deletion that was cut off is not finished")
	}
	must(t, s.Create(ctx, "default", post("brcut", config)))
	must(t, s.Delete(ctx, "default", "brcut"))
}

func TestFailedChangeLeavesTheOldState(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx := t.Context()
	s := daemon(t, store.NewMemory(), nettest.Dir(t))
	must(t, s.Create(ctx, "default", post("brfail", map[string]string{"ipv4.address": "10.6.6.1/24", "ipv6.address": "none"})))
	err := s.Patch(ctx, "default", "brfail", Patch{Config: map[string]string{"raw.dnsmasq": "no-such-option"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "exited prematurely") {
		t.Errorf("error is %v", err)
	}
	n, _, err := s.Get(ctx, "default", "brfail")
	must(t, err)
	if n.Config["raw.dnsmasq"] != "" || n.Status != "Created" || !bridge.Running(s.dir("brfail")) {
		t.Errorf("network is %+v", n)
	}
	err = s.Create(ctx, "default", post("brfail2", map[string]string{"ipv4.address": "10.6.7.1/24", "raw.dnsmasq": "bad"}))
	if err == nil || exists("brfail2") || s.Journal.Pending() != 0 {
		t.Errorf("a failed creation left something: %v", err)
	}
	must(t, s.Delete(ctx, "default", "brfail"))
}

func TestRefusals(t *testing.T) {
	s := daemon(t, store.NewMemory(), t.TempDir())
	none := func(key, value string) map[string]string {
		c := map[string]string{"ipv4.address": "none", "ipv6.address": "none"}
		c[key] = value
		return c
	}
	for _, test := range []struct {
		req  api.NetworksPost
		want string
	}{
		{post("", nil), "No name provided"},
		{post("a", nil), "Network interface is too short (minimum 2 characters)"},
		{post("a:b", nil), "Network interface contains invalid characters"},
		{post("..", nil), "Network interface contains invalid characters"},
		{post("1234567890123456", nil), "Network interface is too long (maximum 15 characters)"},
		{api.NetworksPost{Name: "br0x", Type: "foo"}, "Unknown driver"},
		{post("br0x", none("foo.bar", "1")), `Invalid option for network "br0x" option "foo.bar"`},
		{post("br0x", none("ipv4.address", "10.77.6.1")), `Invalid value for network "br0x" option "ipv4.address": invalid CIDR address: 10.77.6.1`},
		{post("br0x", none("ipv4.address", "10.77.6.0/24")), `Invalid value for network "br0x" option "ipv4.address": Not a usable IPv4 address "10.77.6.0/24"`},
		{post("br0x", none("bridge.mtu", "100")), `Invalid value for network "br0x" option "bridge.mtu": Out of MTU range (1280-16384) "100"`},
		{post("br0x", none("dns.mode", "x")), `Invalid value for network "br0x" option "dns.mode": Invalid value "x" (not one of [dynamic managed none])`},
		{post("br0x", none("ipv4.dhcp.ranges", "x")), `Invalid value for network "br0x" option "ipv4.dhcp.ranges": Item "x": IP range must contain start and end IP addresses`},
		{post("br0x", none("dns.domain", "a b")), `Invalid value for network "br0x" option "dns.domain": Invalid domain name "a b" (labels of letters, digits, - and _, separated by dots, at most 253 characters)`},
		{post("br0x", none("dns.domain", "lxd,10.0.0.0/8,local")), `Invalid value for network "br0x" option "dns.domain": Invalid domain name "lxd,10.0.0.0/8,local" (labels of letters, digits, - and _, separated by dots, at most 253 characters)`},
		{post("br0x", none("dns.search", "good.example,x/1.2.3.4")), `Invalid value for network "br0x" option "dns.search": Item "x/1.2.3.4": Invalid domain name "x/1.2.3.4" (labels of letters, digits, - and _, separated by dots, at most 253 characters)`},
		{post("br0x", none("bridge.driver", "openvswitch")), "Open vSwitch isn't installed on this system"},
		{post("lo", none("user.x", "1")), `Network interface "lo" already exists`},
	} {
		err := s.Create(context.Background(), "default", test.req)
		if err == nil || err.Error() != test.want || api.StatusOf(err) != 400 {
			t.Errorf("%+v: got %v", test.req, err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	for _, seed := range [][2]string{
		{"ipv4.address", "10.0.0.1/24"}, {"ipv6.dhcp.ranges", "fd42::1-fd42::9"}, {"ipv4.routes", "10.0.0.0/8, 11.0.0.0/8"},
		{"ipv4.dhcp.expiry", "1h"}, {"dns.domain", "a b"}, {"bridge.hwaddr", "00:11:22:33:44:55"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		c := map[string]string{key: value}
		if validate("br0", c) != nil {
			return
		}
		if _, err := compile(record{Name: "br0", Config: c}, "/x"); err != nil {
			t.Fatalf("valid %s=%q does not compile: %v", key, value, err)
		}
	})
}
