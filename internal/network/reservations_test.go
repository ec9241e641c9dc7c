package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berthd/berth/internal/driver/network/bridge"
	"github.com/berthd/berth/internal/nettest"
	"github.com/berthd/berth/internal/store"
)

func host(n int) bridge.Host {
	return bridge.Host{
		HWAddr: net.HardwareAddr{0, 0x16, 0x3e, 0, byte(n >> 8), byte(n)}, IPv4: netip.AddrFrom4([4]byte{10, 7, byte(n >> 8), byte(n)}),
		Name: fmt.Sprintf("c%d", n),
	}
}

func file(n int) string { return fmt.Sprintf("c%d.eth0", n) }

func TestReservations(t *testing.T) {
	six := func(n int) bridge.Host {
		h := host(n)
		h.IPv6 = netip.AddrFrom16([16]byte{0xfd, 15: byte(n)})
		return h
	}
	r := newReservations(map[string]bridge.Host{file(1): six(1), file(2): six(2)})
	for what, change := range map[string]func(*bridge.Host){
		"MAC address": func(h *bridge.Host) { h.HWAddr = host(1).HWAddr },
		"IP address":  func(h *bridge.Host) { h.IPv4 = host(1).IPv4 },
		`"fd00::1"`:   func(h *bridge.Host) { h.IPv6 = six(1).IPv6 },
		"DNS name":    func(h *bridge.Host) { h.Name = "c1" },
	} {
		h := host(3)
		change(&h)
		if err := r.conflict(file(3), h); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		if err := r.conflict(file(1), h); err != nil {
			t.Errorf("%s, of its own: %v", what, err)
		}
	}
	r.set(file(1), host(4)) // what it had before is free
	if err := r.conflict(file(3), host(1)); err != nil {
		t.Error(err)
	}
	r.remove(file(1))
	r.remove(file(2))
	r.remove(file(2))
	if len(r.hosts)+len(r.users) > 0 {
		t.Errorf("left: %v %v", r.hosts, r.users)
	}
}

// One more NIC costs the same however many there are.
func TestTheCostOfANICDoesNotGrow(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, dir := t.Context(), nettest.Dir(t)
	s := daemon(t, store.NewMemory(), dir)
	must(t, s.Create(ctx, "default", post("brmany", map[string]string{"ipv4.address": "10.7.0.1/16", "ipv6.address": "none"})))
	cost := func() float64 {
		return testing.AllocsPerRun(20, func() { must(t, s.Reserve(ctx, "brmany", file(1), host(1))) })
	}
	must(t, s.Reserve(ctx, "brmany", file(1), host(1)))
	few := cost()
	for n := 2; n < 400; n++ {
		must(t, s.Reserve(ctx, "brmany", file(n), host(n)))
	}
	if many := cost(); many > few+1 {
		t.Errorf("%v allocations with 400 NICs, %v with one", many, few)
	}
	var wg sync.WaitGroup
	for n := 1; n < 400; n++ {
		wg.Go(func() {
			if err := s.Release(ctx, "brmany", file(n), host(n).HWAddr); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if hosts, err := bridge.Hosts(s.dir("brmany")); err != nil || len(hosts) > 0 || !bridge.Running(s.dir("brmany")) {
		t.Errorf("left: %v, %v; dnsmasq runs: %v", hosts, err, bridge.Running(s.dir("brmany")))
	}
	must(t, s.Delete(ctx, "default", "brmany"))
}

// NICs whose reservations hold names share a reload of dnsmasq; one that holds an address is known at once, and with it
// all before it.
func TestManyNICsShareAReload(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, dir := t.Context(), nettest.Dir(t)
	s := daemon(t, store.NewMemory(), dir)
	s.reloads.every = time.Hour
	reload, reloaded := s.reloads.reload, 0
	s.reloads.reload = func(ctx context.Context, network string) error {
		reloaded++
		return reload(ctx, network)
	}
	must(t, s.Create(ctx, "default", post("brshare", map[string]string{"ipv4.address": "10.7.0.1/16", "ipv6.address": "none"})))
	reserve := func(n int, address bool) {
		h := host(n)
		if !address {
			h.IPv4 = netip.Addr{}
		}
		must(t, s.Reserve(ctx, "brshare", file(n), h))
	}
	expect := func(when string, count int, due bool) {
		t.Helper()
		s.reloads.mu.Lock()
		defer s.reloads.mu.Unlock()
		if r := s.reloads.of("brshare"); reloaded != count || (r.due != nil) != due {
			t.Errorf("%s: %d reloads, one more is due: %v", when, reloaded, r.due != nil)
		}
	}
	reserve(1, false)
	expect("the first", 1, false)
	for n := 2; n < 200; n++ {
		reserve(n, false)
	}
	expect("with 200", 1, true)
	reserve(200, true)
	expect("with an address", 2, false)
	reserve(200, true)
	expect("with the same again", 2, false)
	reserve(201, false)
	s.Close()
	expect("at the end", 3, false)
	must(t, s.Delete(ctx, "default", "brshare"))
}

// What a daemon before wrote counts.
func TestReservationsOutliveTheDaemon(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, engine, dir := t.Context(), store.NewMemory(), nettest.Dir(t)
	s := daemon(t, engine, dir)
	must(t, s.Create(ctx, "default", post("brkept", map[string]string{"ipv4.address": "10.8.0.1/16", "ipv6.address": "none"})))
	must(t, s.Reserve(ctx, "brkept", file(1), host(1)))
	next := daemon(t, engine, dir)
	h := host(1)
	if err := next.Conflict("brkept", file(2), h); err == nil {
		t.Error("its reservation is not known")
	}
	must(t, next.Delete(ctx, "default", "brkept"))
	must(t, next.Create(ctx, "default", post("brkept", map[string]string{"ipv4.address": "10.8.0.1/16", "ipv6.address": "none"})))
	if err := next.Conflict("brkept", file(2), h); err != nil {
		t.Errorf("a network that is gone is remembered: %v", err)
	}
	must(t, next.Delete(ctx, "default", "brkept"))
}
