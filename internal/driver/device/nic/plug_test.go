package nic

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/nettest"
)

// inGuest runs ip in the guest's network and returns what it prints.
func inGuest(t *testing.T, g *nettest.Guest, args ...string) string {
	t.Helper()
	out, err := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(g.PID), "-n", "ip"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// swaps are NICs that are replaced while they run, and what replaces them.
var swaps = map[string]struct{ old, next device.Config }{
	"bridged": {
		device.Config{"type": "nic", "network": "br0t", "name": "eth0", "ipv4.routes": "10.4.4.0/24"},
		device.Config{"type": "nic", "network": "br0t", "name": "eth0", "ipv4.routes": "10.4.4.0/24", "hwaddr": "00:16:3e:00:00:99"},
	},
	"with a name of its own on the host": {
		device.Config{"type": "nic", "nictype": "p2p", "name": "eth0", "host_name": "vethown", "ipv4.routes": "10.4.5.0/24"},
		device.Config{"type": "nic", "nictype": "p2p", "name": "eth0", "host_name": "vethown", "ipv4.routes": "10.4.5.0/24", "mtu": "1400"},
	},
	"macvlan": {
		device.Config{"type": "nic", "nictype": "macvlan", "parent": "br0t", "name": "eth0"},
		device.Config{"type": "nic", "nictype": "macvlan", "parent": "br0t", "name": "eth0", "mtu": "1300"},
	},
	"of another kind": {
		device.Config{"type": "nic", "nictype": "macvlan", "parent": "br0t", "name": "eth0"},
		device.Config{"type": "nic", "nictype": "p2p", "name": "eth0"},
	},
}

// TestANICIsReplacedAndThereIsAWayBack: the new one is made beside the old one; either can go.
func TestANICIsReplacedAndThereIsAWayBack(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	for name, swap := range swaps {
		for _, back := range []bool{true, false} {
			t.Run(name+map[bool]string{true: ", and back", false: ""}[back], func(t *testing.T) { replaceNIC(t, swap.old, swap.next, back) })
		}
	}
}

func replaceNIC(t *testing.T, old, next device.Config, back bool) {
	newBridge(t, "br0t")
	before := countLinks(t)
	m, g, ctx := New(networks{}), nettest.NewGuest(t), t.Context()
	run := running{g}
	first := instance(t, map[string]device.Config{"eth0": old})
	second := instance(t, map[string]device.Config{"eth0": next})
	second.Slot, second.DevicesPath = 1, first.DevicesPath
	v := map[string]string{"hwaddr": "00:16:3e:00:00:98"}
	c, err := m.Start(ctx, first, "eth0", old, v)
	must(t, err)
	must(t, m.Plug(ctx, run, first, "eth0", old, c))
	v["host_name"] = c.Volatile["host_name"]
	inGuest(t, g, "address", "add", "10.3.3.5/24", "dev", "eth0")
	inGuest(t, g, "-6", "address", "add", "fd42::5/64", "dev", "eth0", "nodad")
	inGuest(t, g, "route", "add", "default", "via", "10.3.3.1")
	inGuest(t, g, "route", "add", "10.9.0.0/16", "via", "10.3.3.2", "metric", "7")
	inGuest(t, g, "-6", "route", "add", "default", "via", "fd42::1")
	inGuest(t, g, "neighbour", "add", "10.3.3.7", "lladdr", "00:16:3e:00:00:07", "dev", "eth0", "nud", "permanent")
	inGuest(t, g, "neighbour", "add", "proxy", "10.3.3.8", "dev", "eth0")
	inGuest(t, g, "-6", "neighbour", "add", "fd42::7", "lladdr", "00:16:3e:00:00:07", "dev", "eth0", "nud", "permanent")
	inside := func() string {
		return inGuest(t, g, "route") + inGuest(t, g, "-6", "route", "show", "default") + inGuest(t, g, "neighbour", "show", "nud", "permanent") +
			inGuest(t, g, "neighbour", "show", "proxy")
	}
	was := inside()

	seen, err := m.Look(ctx, run, first, "eth0", old, v)
	must(t, err)
	started, err := m.Start(ctx, second, "eth0", next, v)
	must(t, err)
	after := map[string]string{"hwaddr": v["hwaddr"], "host_name": started.Volatile["host_name"]}
	must(t, m.Unplug(ctx, run, first, "eth0", old, v))
	must(t, m.Plug(ctx, run, second, "eth0", next, started))
	if n := strings.Count(inGuest(t, g, "-o", "link"), ": eth0"); n != 1 {
		t.Errorf("there are %d interfaces eth0", n)
	}
	gone, goneVolatile, goneConfig := first, v, old
	if back {
		must(t, m.Unplug(ctx, run, second, "eth0", next, after))
		gone, goneVolatile, goneConfig = second, after, next
	}
	_, err = m.Stop(ctx, gone, "eth0", goneConfig, goneVolatile)
	must(t, err)
	if !back {
		must(t, m.Add(ctx, second, "eth0", next, after))
	} else {
		for range 2 { // the second time after a kill
			must(t, m.Replug(ctx, run, first, "eth0", old, v, seen))
		}
		if now := inside(); now != was || !strings.Contains(now, "10.3.3.7 dev eth0") || !strings.Contains(now, "10.3.3.8 dev eth0") {
			t.Errorf("routes and neighbours are\n%s not\n%s", now, was)
		}
		if a := inGuest(t, g, "address", "show", "dev", "eth0"); !strings.Contains(a, "10.3.3.5/24") || !strings.Contains(a, "fd42::5/64") || !strings.Contains(a, v["hwaddr"]) ||
			strings.Contains(a, "brd 10.3.3.255") { // which it had not
			t.Errorf("addresses are %s", a)
		}
	}
	if routes := old["ipv4.routes"]; routes != "" {
		via := "br0t"
		if old["nictype"] == p2p {
			via = "vethown"
		}
		if !hasRoute(t, via, routes) {
			t.Errorf("the host has no route to %s", routes)
		}
	}
	left, leftConfig, leftVolatile := second, next, after
	if back {
		left, leftConfig, leftVolatile = first, old, v
	}
	if host := leftVolatile["host_name"]; host != "" {
		if _, err := netlink.LinkByName(host); err != nil {
			t.Errorf("host's end %s: %v", host, err)
		}
	}
	must(t, m.Unplug(ctx, run, left, "eth0", leftConfig, leftVolatile))
	_, err = m.Stop(ctx, left, "eth0", leftConfig, leftVolatile)
	must(t, err)
	if n := countLinks(t); n != before {
		t.Errorf("%d interfaces are left", n-before)
	}
}

// TestAGuestCannotHideItsNIC: it may rename it and take its mark away.
func TestAGuestCannotHideItsNIC(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	newBridge(t, "br0t")
	for name, cfg := range map[string]device.Config{
		"veth":    {"type": "nic", "nictype": "p2p", "name": "eth0"},
		"macvlan": {"type": "nic", "nictype": "macvlan", "parent": "br0t", "name": "eth0"},
	} {
		t.Run(name, func(t *testing.T) {
			before := countLinks(t)
			m, g, ctx := New(networks{}), nettest.NewGuest(t), t.Context()
			inst := instance(t, map[string]device.Config{"eth0": cfg})
			c, err := m.Start(ctx, inst, "eth0", cfg, nil)
			must(t, err)
			must(t, m.Plug(ctx, running{g}, inst, "eth0", cfg, c))
			inGuest(t, g, "link", "set", "eth0", "down")
			inGuest(t, g, "link", "set", "eth0", "name", "other")
			inGuest(t, g, "link", "set", "other", "alias", "mine")
			must(t, m.Unplug(ctx, running{g}, inst, "eth0", cfg, c.Volatile))
			if links := inGuest(t, g, "-o", "link"); strings.Contains(links, "other") {
				t.Errorf("inside is %s", links)
			}
			_, err = m.Stop(ctx, inst, "eth0", cfg, c.Volatile)
			must(t, err)
			if n := countLinks(t); n != before {
				t.Errorf("%d interfaces are left", n-before)
			}
		})
	}
}

// TestAltnamesDoNotKeepANIC: a guest gives its interface a name that the host has.
func TestAltnamesDoNotKeepANIC(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	for name, cfg := range map[string]device.Config{"veth": {"type": "nic", "network": "br0t", "name": "eth0"}, "macvlan": {"type": "nic", "nictype": "macvlan", "parent": "br0t", "name": "eth0"}} {
		t.Run(name, func(t *testing.T) {
			newBridge(t, "br0t")
			m, g := New(networks{}), nettest.NewGuest(t)
			run, inst, v := running{g}, instance(t, map[string]device.Config{"eth0": cfg}), map[string]string{"hwaddr": "00:16:3e:00:00:97"}
			c, err := m.Start(t.Context(), inst, "eth0", cfg, v)
			must(t, err)
			must(t, m.Plug(t.Context(), run, inst, "eth0", cfg, c))
			v["host_name"] = c.Volatile["host_name"]
			inGuest(t, g, "link", "property", "add", "dev", "eth0", "altname", "br0t", "altname", "other")
			must(t, m.Unplug(t.Context(), run, inst, "eth0", cfg, v))
			if links := inGuest(t, g, "-o", "link"); strings.Contains(links, "eth0") {
				t.Errorf("it is still inside: %s", links)
			}
			_, err = m.Stop(t.Context(), inst, "eth0", cfg, v)
			must(t, err)
		})
	}
}
