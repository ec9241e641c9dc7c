package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/berthd/berth/internal/driver/network/bridge"
	"github.com/berthd/berth/internal/nettest"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// TestLeasesAreWhatIsInTheNetwork, each address once: of an instance without DHCPv6 the one that it makes of the prefix and its hardware
// address; where DHCPv6 gives addresses it makes none.
func TestLeasesAreWhatIsInTheNetwork(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, dir := t.Context(), nettest.Dir(t)
	s := daemon(t, store.NewMemory(), dir)
	must(t, s.Create(ctx, "default", post("brleases", map[string]string{"ipv4.address": "10.6.7.1/24", "ipv6.address": "fd42:6:7::1/64"})))
	must(t, s.Reserve(ctx, "brleases", "c1.eth0", bridge.Host{
		HWAddr: net.HardwareAddr{0, 0x16, 0x3e, 0, 0, 1}, IPv4: netip.MustParseAddr("10.6.7.5"), Name: "c1",
	}))
	given := "1900000000 00:16:3e:00:00:01 10.6.7.5 c1 *\n1900000000 00:16:3e:00:00:01 10.6.7.6 other *\n1900000000 00:16:3e:00:00:02 10.6.7.9 guest *\n"
	check := func(mode string, want ...string) {
		t.Helper()
		must(t, bridge.StopDnsmasq(ctx, s.dir("brleases"))) // which would write the file anew
		must(t, os.WriteFile(filepath.Join(s.dir("brleases"), "dnsmasq.leases"), []byte(given), 0o644))
		leases, err := s.Leases(ctx, "default", "brleases")
		must(t, err)
		var got []string
		for _, l := range leases {
			got = append(got, fmt.Sprintf("%s %s %s %s", l.Type, l.Hostname, l.Address, l.Hwaddr))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", mode, got, want)
		}
	}
	both := []string{
		"gateway brleases.gw 10.6.7.1 ", "gateway brleases.gw fd42:6:7::1 ", "static c1 10.6.7.5 00:16:3e:00:00:01",
		"dynamic c1 10.6.7.6 00:16:3e:00:00:01", "dynamic guest 10.6.7.9 00:16:3e:00:00:02",
	}
	check("stateless", append(both, "dynamic c1 fd42:6:7:0:216:3eff:fe00:1 00:16:3e:00:00:01")...)
	must(t, s.Patch(ctx, "default", "brleases", Patch{Config: map[string]string{"ipv6.dhcp.stateful": "true"}}, nil))
	check("stateful", both...)
	must(t, s.Patch(ctx, "default", "brleases", Patch{Config: map[string]string{"ipv6.dhcp.stateful": "", "ipv6.dhcp": "false"}}, nil))
	check("without DHCPv6", both...)
	must(t, s.Delete(ctx, "default", "brleases"))
}

// sharing is a house whose projects all have the default project's networks.
type sharing struct{ project.Single }

func (sharing) Effective(project.Kind, string) string { return "default" }

// TestLeasesOfAProject: what the instances of others have is not a project's to see. The bridge's own address, and what strangers got, is shown
// where the network is.
func TestLeasesOfAProject(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, dir := t.Context(), nettest.Dir(t)
	s := daemon(t, store.NewMemory(), dir)
	must(t, s.Create(ctx, "default", post("brtenant", map[string]string{"ipv4.address": "10.6.9.1/24", "ipv6.address": "none"})))
	s.Projects = sharing{}
	for n, file := range []string{"c1.eth0", "red_c1.eth0"} {
		must(t, s.Reserve(ctx, "brtenant", file, bridge.Host{HWAddr: net.HardwareAddr{0, 0x16, 0x3e, 0, 0, byte(n)}, IPv4: netip.AddrFrom4([4]byte{10, 6, 9, byte(10 + n)}), Name: fmt.Sprint("c", n)}))
	}
	must(t, bridge.StopDnsmasq(ctx, s.dir("brtenant")))
	must(t, os.WriteFile(filepath.Join(s.dir("brtenant"), "dnsmasq.leases"), []byte("1900000000 00:16:3e:00:00:01 10.6.9.77 c1 *\n1900000000 00:16:3e:00:00:99 10.6.9.99 stranger *\n"), 0o644))
	for project, want := range map[string][]string{
		"default": {"gateway 10.6.9.1", "static 10.6.9.10", "dynamic 10.6.9.99"}, "red": {"static 10.6.9.11", "dynamic 10.6.9.77"}, "blue": nil,
	} {
		leases, err := s.Leases(ctx, project, "brtenant")
		must(t, err)
		var got []string
		for _, l := range leases {
			got = append(got, l.Type+" "+l.Address)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s sees %q, want %q", project, got, want)
		}
	}
	must(t, s.Delete(ctx, "default", "brtenant"))
}

// TestALeaseGoesWithItsOwner: a copy may have the hardware address of its source, and then has no reservation.
func TestALeaseGoesWithItsOwner(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, dir := t.Context(), nettest.Dir(t)
	s := daemon(t, store.NewMemory(), dir)
	must(t, s.Create(ctx, "default", post("browner", map[string]string{"ipv4.address": "10.6.8.1/24", "ipv6.address": "none"})))
	mac := net.HardwareAddr{0, 0x16, 0x3e, 0, 0, 1}
	must(t, s.Reserve(ctx, "browner", "c1.eth0", bridge.Host{HWAddr: mac, Name: "c1"}))
	must(t, bridge.StopDnsmasq(ctx, s.dir("browner")))
	must(t, os.WriteFile(filepath.Join(s.dir("browner"), "dnsmasq.leases"), []byte("1900000000 00:16:3e:00:00:01 10.6.8.5 c1 *\n"), 0o644))
	leases := func() int {
		t.Helper()
		all, err := bridge.Leases(s.dir("browner"))
		must(t, err)
		return len(all)
	}
	must(t, s.Release(ctx, "browner", "c2.eth0", mac))
	if leases() != 1 {
		t.Error("the lease of the source went with its copy")
	}
	must(t, s.Release(ctx, "browner", "c1.eth0", mac))
	if leases() != 0 {
		t.Error("the lease is left")
	}
	must(t, s.Delete(ctx, "default", "browner"))
}
