package netstate

import (
	"os"
	"testing"

	"github.com/berthd/berth/api"
)

func TestLoopbackIsRead(t *testing.T) {
	state, err := State(os.Getpid())
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
	for b.Loop() {
		if _, err := State(os.Getpid()); err != nil {
			b.Fatal(err)
		}
	}
}
