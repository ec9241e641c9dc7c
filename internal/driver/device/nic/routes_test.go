package nic

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/nettest"
)

// ip runs ip(8). What it shows of a route is the same whether there is a carrier or not.
func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.ReplaceAll(string(out), " linkdown", "")
}

// routed is an instance with one NIC that the host has routes to.
type routed struct {
	device.Instance
	t   *testing.T
	m   *Module
	cfg device.Config
	v   map[string]string
}

func newRouted(t *testing.T, id string, cfg device.Config) *routed {
	inst := instance(t, map[string]device.Config{"eth0": cfg})
	inst.ID, inst.UUID = id, id
	return &routed{inst, t, New(networks{}), cfg, map[string]string{}}
}

func (r *routed) start() error {
	c, err := r.m.Start(r.t.Context(), r.Instance, "eth0", r.cfg, nil)
	r.v["host_name"] = c.Volatile["host_name"]
	return err
}

func (r *routed) stop() {
	r.t.Helper()
	_, err := r.m.Stop(r.t.Context(), r.Instance, "eth0", r.cfg, r.v)
	must(r.t, err)
	if left, _ := os.ReadDir(r.DevicesPath); len(left) > 0 {
		r.t.Errorf("%v is left", left)
	}
}

func bridgedTo(parent, routes string) device.Config {
	return device.Config{"type": "nic", "nictype": "bridged", "parent": parent, "ipv4.routes": routes}
}

// TestAStartThatFailsLeavesTheRoutesOfOthers: nor does a stop of what was never started take them away.
func TestAStartThatFailsLeavesTheRoutesOfOthers(t *testing.T) {
	nettest.Need(t, "ip")
	newBridge(t, "br2t")
	const dst, dst6 = "10.77.0.0/24", "fd77::/64"
	cfg := bridgedTo("br2t", dst)
	cfg["ipv6.routes"] = dst6
	r1, r2 := newRouted(t, "r1", cfg), newRouted(t, "r2", cfg)
	must(t, r1.start())
	before := ip(t, "route") + ip(t, "-6", "route")
	if !strings.Contains(before, dst+" dev br2t scope link") || !strings.Contains(before, dst6+" dev br2t metric 1024") {
		t.Fatalf("the routes are %s", before)
	}
	unchanged := func(after string) {
		t.Helper()
		if now := ip(t, "route") + ip(t, "-6", "route"); now != before {
			t.Errorf("after %s the routes were\n%s and are\n%s", after, before, now)
		}
	}
	r2.stop()
	unchanged("a stop of what was not started")
	if err := r2.start(); api.StatusOf(err) != 400 || !errors.Is(err, syscall.EEXIST) || !strings.Contains(err.Error(), "ipv4.routes") || !strings.Contains(err.Error(), "br2t") {
		t.Errorf("the error of a second start is %v", err)
	}
	unchanged("a start that failed")
	r2.stop()
	unchanged("its clean-up")
	r2.cfg = bridgedTo("br2t", "10.78.0.0/24")
	must(t, r2.start())
	both := device.Config{"type": "nic", "nictype": "bridged", "parent": "br2t", "ipv4.routes": "10.79.0.0/24, " + dst}
	if err := r2.m.Update(t.Context(), nil, r2.Instance, "eth0", r2.cfg, both, r2.v); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("the error of a change is %v", err)
	}
	must(t, r2.m.Update(t.Context(), nil, r2.Instance, "eth0", both, r2.cfg, r2.v))
	if !hasRoute(t, "br2t", "10.78.0.0/24") || hasRoute(t, "br2t", "10.79.0.0/24") {
		t.Errorf("after a change that failed the routes are %s", ip(t, "route"))
	}
	r2.stop()
	unchanged("its stop")
	r1.stop()
	if hasRoute(t, "br2t", dst) || strings.Contains(ip(t, "-6", "route"), dst6) {
		t.Error("routes are left")
	}
}

// TestARouteOfTheHostIsRefused, and is there afterwards.
func TestARouteOfTheHostIsRefused(t *testing.T) {
	nettest.Need(t, "ip")
	newBridge(t, "br3t")
	newBridge(t, "br4t")
	ip(t, "address", "add", "10.80.0.1/24", "dev", "br3t")
	ip(t, "route", "add", "10.81.0.0/24", "dev", "br4t")
	ip(t, "route", "add", "10.82.0.0/24", "via", "10.80.0.9")
	ip(t, "route", "add", "blackhole", "10.83.0.0/24")
	t.Cleanup(func() { ip(t, "route", "del", "blackhole", "10.83.0.0/24") })
	ip(t, "route", "add", "10.84.0.0/24", "dev", "br3t") // as a NIC would have it
	ip(t, "route", "add", "10.85.0.0/24", "dev", "br4t", "metric", "5")
	before := ip(t, "route")
	for _, dst := range []string{"10.80.0.0/24", "10.81.0.7/24", "10.82.0.0/24", "10.83.0.0/24", "10.84.0.0/24"} {
		for _, cfg := range []device.Config{bridgedTo("br3t", dst), {"type": "nic", "nictype": "p2p", "ipv4.routes": dst}} {
			r := newRouted(t, "r3", cfg)
			if err := r.start(); api.StatusOf(err) != 400 || !errors.Is(err, syscall.EEXIST) {
				t.Errorf("a %s NIC with a route to %s: %v", cfg["nictype"], dst, err)
			}
			r.stop()
		}
	}
	r := newRouted(t, "r3", bridgedTo("br3t", "10.85.0.0/24")) // beside one of another metric there is room
	must(t, r.start())
	r.stop()
	if now := ip(t, "route"); now != before {
		t.Errorf("the routes were\n%s and are\n%s", before, now)
	}
}

// TestRoutesOfADaemonThatWasKilled: what the file names, and nothing else, is taken away, brought back and adopted.
func TestRoutesOfADaemonThatWasKilled(t *testing.T) {
	nettest.Need(t, "ip")
	newBridge(t, "br5t")
	r := newRouted(t, "r5", bridgedTo("br5t", "10.90.0.0/24"))
	must(t, r.start())
	file := filepath.Join(r.DevicesPath, "nic.eth0.0.routes")
	adopt := func() {
		t.Helper()
		must(t, New(networks{}).Adopt(t.Context(), r.Instance, "eth0", r.cfg, r.v))
		if !hasRoute(t, "br5t", "10.90.0.0/24") {
			t.Error("the route is missing")
		}
	}
	adopt()
	ip(t, "route", "del", "10.90.0.0/24") // as the kernel does with the last address
	adopt()
	must(t, os.Remove(file)) // a daemon that kept none
	adopt()
	if raw, err := os.ReadFile(file); err != nil || !strings.Contains(string(raw), "10.90.0.0/24") {
		t.Errorf("the record is %s, %v", raw, err)
	}
	ip(t, "route", "del", "10.90.0.0/24") // recorded, and never made
	r.stop()
	must(t, r.start())
	raw, err := os.ReadFile(file)
	must(t, err)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	must(t, err)
	other := strings.Replace(string(raw), strings.TrimSpace(string(boot)), "00000000-0000-4000-8000-000000000000", 1)
	must(t, os.WriteFile(file, []byte(other), 0o600)) // the host has booted, and has made the route itself
	r.stop()
	if !hasRoute(t, "br5t", "10.90.0.0/24") {
		t.Error("a route of the host was taken away")
	}
}

// TestTheRouteGoesWithTheInterface of a NIC that is not on a bridge, and comes back with it.
func TestTheRouteGoesWithTheInterface(t *testing.T) {
	nettest.Need(t, "ip")
	r := newRouted(t, "r6", device.Config{"type": "nic", "nictype": "p2p", "host_name": "vethrt6", "ipv4.routes": "10.91.0.0/24"})
	must(t, r.start())
	must(t, r.start()) // again, after one that was cut off
	if !hasRoute(t, "vethrt6", "10.91.0.0/24") {
		t.Error("the route is missing")
	}
	r.stop()
	if _, err := netlink.LinkByName("vethrt6"); err == nil {
		t.Error("the interface is left")
	}
}
