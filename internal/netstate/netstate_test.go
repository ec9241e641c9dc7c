package netstate

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// TestGuestIsRead reads another namespace, in which nobody of ours is.
func TestGuestIsRead(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	g := nettest.NewGuest(t)
	if out, err := exec.Command("ip", "link", "add", "host0", "type", "veth", "peer", "name", "eth0", "address", "00:16:3e:00:00:07",
		"mtu", "1400", "netns", strconv.Itoa(g.PID)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	g.MustRun("ip", "address", "add", "10.9.8.7/24", "dev", "eth0")
	g.MustRun("ip", "address", "add", "10.9.7.1", "peer", "10.9.7.2/31", "dev", "eth0")
	g.MustRun("ip", "address", "add", "fd42::7/64", "dev", "eth0", "nodad")
	g.MustRun("ip", "link", "set", "eth0", "up")
	want := map[string]api.InstanceStateNetwork{
		"lo": {Addresses: []api.InstanceStateNetworkAddress{}, Mtu: 65536, State: "down", Type: "loopback"},
		"eth0": {
			Addresses: []api.InstanceStateNetworkAddress{
				{Family: "inet", Address: "10.9.8.7", Netmask: "24", Scope: "global"},
				{Family: "inet", Address: "10.9.7.1", Netmask: "32", Scope: "global"},
				{Family: "inet6", Address: "fd42::7", Netmask: "64", Scope: "global"},
			},
			Hwaddr: "00:16:3e:00:00:07", HostName: "host0", Mtu: 1400, State: "up", Type: "broadcast",
		},
	}
	for range 2 { // without a number of the namespace, and with one
		got, err := State(g.Namespace())
		if err != nil {
			t.Fatal(err)
		}
		eth0 := got["eth0"]
		eth0.Counters = api.NetworkCounters{} // see TestCountersAreRead
		got["eth0"] = eth0
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestCountersAreRead(t *testing.T) {
	nettest.Need(t)
	counters := func() api.NetworkCounters {
		t.Helper()
		state, err := State(nettest.Own(t))
		if err != nil {
			t.Fatal(err)
		}
		return state["lo"].Counters
	}
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	was := counters()
	const datagrams, size, headers = 3, 100, 20 + 8
	for range datagrams {
		if _, err := socket.WriteTo(make([]byte, size), socket.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	now := counters()
	if now.PacketsSent-was.PacketsSent != datagrams || now.BytesReceived-was.BytesReceived != datagrams*(size+headers) ||
		now.BytesSent != now.BytesReceived || now.PacketsReceived != now.PacketsSent {
		t.Errorf("%+v, then %+v", was, now)
	}
}

func TestStateOfNobody(t *testing.T) {
	none, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	if _, err := State(none); err == nil {
		t.Error("what is no namespace has interfaces")
	}
	if _, err := State(nettest.Own(t)); err != nil { // what failed before is not in the way
		t.Error(err)
	}
}

// TestStateIsCheap guards a list of all instances with their state: no object for each attribute, no namespace entered.
func TestStateIsCheap(t *testing.T) {
	nettest.Need(t)
	g := nettest.NewGuest(t)
	ns := g.Namespace()
	read := func() {
		if _, err := State(ns); err != nil {
			t.Fatal(err)
		}
	}
	read() // opens the socket, and gives the namespace its number
	const most = 25
	if n := testing.AllocsPerRun(50, read); n > most {
		t.Errorf("the state of one interface takes %v allocations, %d at most are allowed", n, most)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 7, 0, 3, 0, 'l', 'o', 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		l, ok := parseLink(data)
		if ok && l.name == "" {
			t.Error("a link without a name")
		}
		a, ok := parseAddress(data)
		if ok && a.ip.To16() == nil {
			t.Errorf("address %v", a.ip)
		}
	})
}

func TestLoopbackIsRead(t *testing.T) {
	state, err := State(nettest.Own(t))
	if err != nil {
		t.Fatal(err)
	}
	lo, ok := state["lo"]
	if !ok || lo.Type != "loopback" || lo.Mtu == 0 {
		t.Fatalf("lo is %+v", lo)
	}
	if lo.State == "up" && (len(lo.Addresses) == 0 || lo.Addresses[0] != (api.InstanceStateNetworkAddress{
		Family: "inet", Address: "127.0.0.1", Netmask: "8", Scope: "local"})) {
		t.Fatalf("addresses of lo are %+v", lo.Addresses)
	}
}

func TestHostInterface(t *testing.T) {
	lo, err := Host("lo")
	if err != nil {
		t.Fatal(err)
	}
	if lo.Type != "loopback" || lo.Bridge != nil || lo.Hwaddr != "" {
		t.Fatalf("lo is %+v", lo)
	}
	if _, err := Host("berth-nope"); !api.IsNotFound(err) {
		t.Fatalf("missing interface gives %v", err)
	}
	if i, ok := Find("lo"); !ok || i.Type != "loopback" {
		t.Fatalf("Find(lo) is %+v, %v", i, ok)
	}
}

func BenchmarkState(b *testing.B) {
	own := nettest.Own(b)
	for b.Loop() {
		if _, err := State(own); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAGuestWithManyInterfacesIsReadInPart has a guest make more than anybody reads: what is given is bounded, and the next is read right.
func TestAGuestWithManyInterfacesIsReadInPart(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	g, other := nettest.NewGuest(t), nettest.NewGuest(t)
	var batch strings.Builder
	for n := range maxLinks/2 + 8 {
		fmt.Fprintf(&batch, "link add a%d type veth peer name b%d\n", n, n)
	}
	for n := range maxAddresses + 100 {
		fmt.Fprintf(&batch, "address add 10.9.%d.%d/32 dev lo\n", n/250, n%250+1)
	}
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	g.MustRun("ip", "-batch", file)
	for range 2 {
		state, err := State(g.Namespace())
		if err != nil {
			t.Fatal(err)
		}
		addresses := 0
		for _, one := range state {
			addresses += len(one.Addresses)
		}
		if len(state) != maxLinks || addresses != maxAddresses {
			t.Errorf("%d interfaces with %d addresses are read, not %d with %d", len(state), addresses, maxLinks, maxAddresses)
		}
		if state, err = State(other.Namespace()); err != nil || len(state) != 1 || state["lo"].Mtu != 65536 {
			t.Errorf("another guest after it: %+v, %v", state, err)
		}
	}
}
