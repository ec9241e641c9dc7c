package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/network/bridge"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/nettest"
	"github.com/berthd/berth/internal/store"
)

// atOnce runs all and returns their errors.
func atOnce(all ...func() error) []error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	start := make(chan struct{})
	for n, f := range all {
		wg.Go(func() { <-start; errs[n] = f() })
	}
	close(start)
	wg.Wait()
	return errs
}

func succeeded(errs []error) int {
	n := 0
	for _, err := range errs {
		if err == nil {
			n++
		}
	}
	return n
}

var noAddresses = map[string]string{"ipv4.address": "none", "ipv6.address": "none"}

func TestTwoCreatesOfOneName(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, dir := t.Context(), nettest.Dir(t)
	s := daemon(t, store.NewMemory(), dir)
	for range 5 {
		create := func(project string) func() error {
			return func() error { return s.Create(ctx, project, post("brtwo", noAddresses)) }
		}
		errs := atOnce(create("default"), create("default"), create("other"))
		if succeeded(errs) != 1 || !exists("brtwo") || s.Journal.Pending() != 0 {
			t.Fatalf("errors %v, interface: %v, pending: %d", errs, exists("brtwo"), s.Journal.Pending())
		}
		r, ok := s.byInterface("brtwo")
		if !ok {
			t.Fatal("the network that was made is not kept")
		}
		must(t, s.Delete(ctx, r.Project, "brtwo"))
		if left, _ := os.ReadDir(dir); len(left) > 0 || exists("brtwo") {
			t.Fatalf("left: %v, interface: %v", left, exists("brtwo"))
		}
	}
}

// What two creates choose differs, although neither is kept yet when the other looks.
func TestTwoCreatesNeverShareASubnet(t *testing.T) {
	s := daemon(t, store.NewMemory(), t.TempDir())
	var all []*record
	var calls []func() error
	for n := range 64 {
		r := &record{UUID: fmt.Sprint(n), Config: map[string]string{"ipv6.address": "none"}}
		all = append(all, r)
		calls = append(calls, func() error { return s.fill(r, true) })
	}
	for _, err := range atOnce(calls...) {
		must(t, err)
	}
	for n, r := range all {
		p := netip.MustParsePrefix(r.Config["ipv4.address"]).Masked()
		for _, other := range all[:n] {
			if p.Overlaps(netip.MustParsePrefix(other.Config["ipv4.address"]).Masked()) {
				t.Errorf("%s was given twice", p)
			}
		}
		if n > 0 {
			continue
		}
		s.subnets.mu.Lock()
		if taken := s.taken(); len(taken) != len(all) {
			t.Errorf("%d subnets are known to be taken while %d creations are under way", len(taken), len(all))
		}
		s.subnets.mu.Unlock()
	}
	for _, r := range all {
		s.filled(*r)
	}
	if taken := s.taken(); len(taken) > 0 {
		t.Errorf("subnets stay taken: %v", taken)
	}
}

func TestOfTwoUpdatesOneWins(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx := t.Context()
	s := daemon(t, store.NewMemory(), nettest.Dir(t))
	must(t, s.Create(ctx, "default", post("brput", noAddresses)))
	for round := range 20 {
		_, seen, err := s.Get(ctx, "default", "brput")
		must(t, err)
		lost := errors.New("another revision")
		put := func(n int) func() error {
			return func() error {
				config := map[string]string{"ipv4.address": "none", "ipv6.address": "none", "user.by": fmt.Sprint(round, n)}
				return s.Update(ctx, "default", "brput", api.NetworkPut{Config: config}, func(now store.Revision) error {
					if now != seen {
						return lost
					}
					return nil
				})
			}
		}
		errs := atOnce(put(0), put(1), put(2))
		for _, err := range errs {
			if err != nil && !errors.Is(err, lost) {
				t.Error(err)
			}
		}
		if succeeded(errs) != 1 {
			t.Fatalf("errors are %v", errs)
		}
	}
	must(t, s.Delete(ctx, "default", "brput"))
}

// A NIC that comes while its network goes leaves nothing in the folder of one that is no more.
func TestANICComesWhileItsNetworkGoes(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, dir := t.Context(), nettest.Dir(t)
	s := daemon(t, store.NewMemory(), dir)
	for round := range 20 {
		must(t, s.Create(ctx, "default", post("brgoes", noAddresses)))
		var calls []func() error
		for n := range 8 {
			h := host(n)
			h.IPv4 = netip.Addr{}
			calls = append(calls, func() error { return s.Reserve(ctx, "brgoes", file(n), h) })
		}
		calls = append(calls, func() error { return s.Delete(ctx, "default", "brgoes") })
		errs := atOnce(calls...)
		for _, err := range errs[:8] {
			if err != nil && !api.IsNotFound(err) {
				t.Error(err)
			}
		}
		must(t, errs[8])
		if left, _ := os.ReadDir(dir); len(left) > 0 || exists("brgoes") {
			t.Fatalf("round %d left %v", round, left)
		}
	}
}

func TestUpdatesAndReservationsAtOnce(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx := t.Context()
	s := daemon(t, store.NewMemory(), nettest.Dir(t))
	must(t, s.Create(ctx, "default", post("brbusy", map[string]string{"ipv4.address": "10.7.0.1/16", "ipv6.address": "none"})))
	var calls []func() error
	for n := 1; n < 9; n++ {
		calls = append(calls, func() error { return s.Reserve(ctx, "brbusy", file(n), host(n)) })
		calls = append(calls, func() error {
			return s.Patch(ctx, "default", "brbusy", Patch{Config: map[string]string{"ipv4.dhcp.expiry": fmt.Sprintf("%dh", n)}}, nil)
		})
		calls = append(calls, func() error { return s.Release(ctx, "brbusy", file(n+100), host(n+100).HWAddr) })
	}
	for _, err := range atOnce(calls...) {
		must(t, err)
	}
	hosts, err := bridge.Hosts(s.dir("brbusy"))
	if err != nil || len(hosts) != 8 || !bridge.Running(s.dir("brbusy")) {
		t.Errorf("reservations are %v, %v; dnsmasq runs: %v", hosts, err, bridge.Running(s.dir("brbusy")))
	}
	r, _ := s.byInterface("brbusy")
	if c, err := s.inForce("brbusy"); err != nil || c.IPv4.Expiry != r.Config["ipv4.dhcp.expiry"] {
		t.Errorf("kept is %s, in force %s, %v", r.Config["ipv4.dhcp.expiry"], c.IPv4.Expiry, err)
	}
	must(t, s.Delete(ctx, "default", "brbusy"))
}

func TestTwoRenamesToOneName(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, dir := t.Context(), nettest.Dir(t)
	s := daemon(t, store.NewMemory(), dir)
	must(t, s.Create(ctx, "default", post("brone", noAddresses)))
	must(t, s.Create(ctx, "default", post("brtwo", noAddresses)))
	rename := func(from string) func() error {
		return func() error { return s.Rename(ctx, "default", from, api.NetworkPost{Name: "brsame"}) }
	}
	errs := atOnce(rename("brone"), rename("brtwo"))
	if succeeded(errs) != 1 || len(s.Managed("default")) != 2 || !exists("brsame") || exists("brone") == exists("brtwo") {
		t.Errorf("errors %v, networks %v", errs, s.Managed("default"))
	}
	for _, name := range s.Managed("default") {
		must(t, s.Delete(ctx, "default", name))
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A network on which something hangs holds up no other, and whoever waits for it gives up with its context.
func TestAHangingNetworkHoldsUpNoOther(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx := t.Context()
	s := daemon(t, store.NewMemory(), nettest.Dir(t))
	held, err := s.Locks.Acquire(ctx, lock.Claim{Action: "update"}, lock.Exclusive(lock.ForNetwork("default", "brhang")))
	must(t, err)
	must(t, s.Create(ctx, "default", post("brfine", noAddresses)))
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := s.Create(short, "default", post("brhang", noAddresses)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	held.Release()
	must(t, s.Delete(ctx, "default", "brfine"))
}

// What bears a network's name and was there before its creation is there after it, and so is what another has made of
// that name since a change was cut off.
func TestOnlyWhatWasMadeIsRemoved(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, engine, dir := t.Context(), store.NewMemory(), nettest.Dir(t)
	s := daemon(t, engine, dir)
	precious := filepath.Join(s.dir("brpre"), "dnsmasq.leases")
	must(t, os.Mkdir(s.dir("brpre"), 0o711))
	must(t, os.WriteFile(precious, []byte("precious"), 0o600))
	if err := s.Create(ctx, "default", post("brpre", noAddresses)); err == nil || !strings.Contains(err.Error(), s.dir("brpre")) {
		t.Errorf("error is %v", err)
	}
	if data, err := os.ReadFile(precious); err != nil || string(data) != "precious" || exists("brpre") {
		t.Errorf("what lay in the folder is %q, %v; an interface is left: %v", data, err, exists("brpre"))
	}
	must(t, os.RemoveAll(s.dir("brpre")))

	// A creation and a deletion were cut off; by the time of the start the name is another's.
	for _, kind := range []string{kindCreate, kindDelete, kindRename, kindUpdate} {
		must(t, s.Create(ctx, "default", post("brpre", map[string]string{"ipv4.address": "10.5.5.1/24", "ipv6.address": "none"})))
		must(t, s.Reserve(ctx, "brpre", file(1), bridge.Host{HWAddr: host(1).HWAddr, Name: "c1"}))
		c := change{Project: "default", Name: "brpre", UUID: "gone"}
		if kind == kindRename {
			c.Name, c.New = "brold", "brpre"
		}
		_, err := s.Journal.Begin(ctx, kind, c)
		must(t, err)
		link, err := netlink.LinkByName("brpre")
		must(t, err)
		s = daemon(t, engine, dir)
		now, err := netlink.LinkByName("brpre")
		if err != nil || now.Attrs().Index != link.Attrs().Index || len(s.Managed("default")) != 1 || s.Journal.Pending() != 0 {
			t.Fatalf("%s: the network of another is gone: %v", kind, err)
		}
		if hosts, _ := bridge.Hosts(s.dir("brpre")); len(hosts) != 1 || !bridge.Running(s.dir("brpre")) {
			t.Errorf("%s: its reservations are %v", kind, hosts)
		}
		must(t, s.Delete(ctx, "default", "brpre"))
	}

	// An interface of the host is not taken over, also where it comes between the look and the creation.
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "brpre"
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	r := record{Project: "default", Name: "brpre", UUID: "mine", Config: noAddresses, HWAddr: randomMAC()}
	if err := s.create(ctx, r); api.StatusOf(err) != 400 || !strings.Contains(err.Error(), `Network interface "brpre" already exists`) {
		t.Errorf("error is %v", err)
	}
	link, err := netlink.LinkByName("brpre")
	if err != nil || link.Attrs().Index == 0 || s.Journal.Pending() != 0 {
		t.Fatalf("the host's interface is gone: %v, pending %d", err, s.Journal.Pending())
	}
	must(t, netlink.LinkDel(link))
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A network from before there were UUIDs is taken over with what runs for it.
func TestANetworkWithoutAUUIDIsAdopted(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, engine, dir := t.Context(), store.NewMemory(), nettest.Dir(t)
	s := daemon(t, engine, dir)
	old := record{Project: "default", Name: "brolder", Type: "bridge", Config: noAddresses, HWAddr: randomMAC()}
	_, err := s.Store.Commit(ctx, s.table.Create(&old, "default", "brolder"))
	must(t, err)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "brolder"
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	must(t, os.Mkdir(s.dir("brolder"), 0o711))
	before, err := netlink.LinkByName("brolder")
	must(t, err)
	for range 2 {
		s = daemon(t, engine, dir)
		r, _ := s.byInterface("brolder")
		now, err := netlink.LinkByName("brolder")
		must(t, err)
		if r.UUID == "" || now.Attrs().Index != before.Attrs().Index || now.Attrs().Alias != "berth:"+r.UUID || s.status(r) != "Created" {
			t.Errorf("record %+v, alias %q", r, now.Attrs().Alias)
		}
	}
	must(t, s.Delete(ctx, "default", "brolder"))
	if left, _ := os.ReadDir(dir); len(left) > 0 || exists("brolder") {
		t.Errorf("left: %v", left)
	}
}

// A failed update, and one that was cut off, leaves the ports of the bridge as they were.
func TestPortsGoBack(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, engine, dir := t.Context(), store.NewMemory(), nettest.Dir(t)
	s := daemon(t, engine, dir)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "ext0"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "ext0p"}))
	must(t, s.Create(ctx, "default", post("brports", map[string]string{"ipv4.address": "10.6.6.1/24", "ipv6.address": "none"})))
	ports := map[string]string{"bridge.external_interfaces": "ext0", "raw.dnsmasq": "no-such-option"}
	if err := s.Patch(ctx, "default", "brports", Patch{Config: ports}, nil); err == nil || s.Journal.Pending() != 0 {
		t.Errorf("error is %v, pending %d", err, s.Journal.Pending())
	}
	if bridge.HasPort("brports", "ext0") {
		t.Error("a failed update has left a port")
	}
	r, _ := s.byInterface("brports")
	_, err := s.Journal.Begin(ctx, kindUpdate, change{Project: "default", Name: "brports", UUID: r.UUID, Ports: []string{"ext0"}})
	must(t, err)
	ext, err := netlink.LinkByName("ext0")
	must(t, err)
	br, err := netlink.LinkByName("brports")
	must(t, err)
	must(t, netlink.LinkSetMaster(ext, br))
	s = daemon(t, engine, dir)
	if bridge.HasPort("brports", "ext0") || s.Journal.Pending() != 0 {
		t.Error("an update that was cut off has left a port")
	}
	must(t, s.Patch(ctx, "default", "brports", Patch{Config: map[string]string{"bridge.external_interfaces": "ext0"}}, nil))
	if !bridge.HasPort("brports", "ext0") {
		t.Error("the port was not added")
	}
	must(t, s.Patch(ctx, "default", "brports", Patch{Config: map[string]string{"bridge.external_interfaces": ""}}, nil))
	if bridge.HasPort("brports", "ext0") {
		t.Error("the port was not removed")
	}
	must(t, s.Delete(ctx, "default", "brports"))
	must(t, netlink.LinkDel(ext))
}

// TestANICComesToANetworkThatGoes is told so from the moment that nobody looks any more whether somebody uses it.
func TestANICComesToANetworkThatGoes(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx := t.Context()
	s := daemon(t, store.NewMemory(), nettest.Dir(t))
	must(t, s.Create(ctx, "default", post("brleaves", noAddresses)))
	h := host(1)
	h.IPv4 = netip.Addr{}
	came := errors.New("nobody looked who uses it")
	s.UsedBy = func(string, string) []string {
		came = s.Reserve(ctx, "brleaves", file(1), h)
		return nil
	}
	must(t, s.Delete(ctx, "default", "brleaves"))
	if !api.IsNotFound(came) {
		t.Errorf("a NIC that came meanwhile: %v", came)
	}
	s.UsedBy = func(string, string) []string { return nil }
	must(t, s.Create(ctx, "default", post("brleaves", noAddresses)))
	must(t, s.Reserve(ctx, "brleaves", file(1), h)) // another one of its name takes NICs
	must(t, s.Delete(ctx, "default", "brleaves"))
}

// TestANetworkInUseStays what it is called, and where it is.
func TestANetworkInUseStays(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx := t.Context()
	s := daemon(t, store.NewMemory(), nettest.Dir(t))
	must(t, s.Create(ctx, "default", post("brinuse", noAddresses)))
	s.UsedBy = func(string, string) []string { return []string{"/1.0/instances/c1"} }
	if err := s.Rename(ctx, "default", "brinuse", api.NetworkPost{Name: "brother"}); api.StatusOf(err) != 400 || err.Error() != "Network is currently in use" {
		t.Errorf("renamed: %v", err)
	}
	if err := s.Delete(ctx, "default", "brinuse"); api.StatusOf(err) != 400 || err.Error() != "The network is currently in use" {
		t.Errorf("deleted: %v", err)
	}
	if !exists("brinuse") || exists("brother") {
		t.Error("the interface has changed")
	}
	s.UsedBy = func(string, string) []string { return nil }
	must(t, s.Rename(ctx, "default", "brinuse", api.NetworkPost{Name: "brother"}))
	must(t, s.Delete(ctx, "default", "brother"))
}
