package hostile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/internal/nettest/hide"
	"github.com/berthd/berth/test/harness"
)

// parent is a bridge of the host, which the daemon's network namespace is, for macvlans. It goes with that.
const parent = "lan0"

// withParent makes it, until the test of the guest ends.
func (g *guest) withParent() {
	g.t.Helper()
	harness.Run(g.t, nil, "ip", "-n", g.NS, "link", "add", parent, "type", "bridge")
	g.t.Cleanup(func() { harness.Run(g.t, nil, "ip", "-n", g.NS, "link", "delete", parent) })
	harness.Run(g.t, nil, "ip", "-n", g.NS, "link", "set", parent, "up")
}

// works tells whether a macvlan that has a hardware address is up, wherever it is: its parent knows.
func (g *guest) works(mac string) bool {
	g.t.Helper()
	return strings.Contains(harness.Run(g.t, nil, "bridge", "-n", g.NS, "fdb", "show", "dev", parent), mac)
}

// hasLink tells whether the host has an interface.
func (g *guest) hasLink(name string) bool {
	g.t.Helper()
	return strings.Contains(harness.Run(g.t, nil, "ip", "-n", g.NS, "-o", "link"), name)
}

// staying has the guest do something in the background, and tells whether the kernel let it.
func (g *guest) staying(attack string, args ...string) bool {
	g.t.Helper()
	command := append([]string{"exec", g.name, "--", "sh", "-c",
		`rm -f /tmp/said; touch /tmp/said; "$0" attack "$@" >> /tmp/said 2>&1 < /dev/null & until grep -q : /tmp/said; do :; done; cat /tmp/said`, program, attack}, args...)
	out := g.Berth(command...)
	if strings.Contains(out, "not implemented") || strings.Contains(out, "not permitted") {
		g.stopped(fmt.Sprintf("%s %v", attack, args), "the kernel or seccomp: "+strings.TrimSpace(out))
		return false
	}
	if !strings.Contains(out, ": <nil>") {
		g.t.Fatalf("%s %v: %s", attack, args, out)
	}
	return true
}

// nic gives the guest one, and returns its hardware address.
func (g *guest) nic(n int, config ...string) string {
	mac := fmt.Sprintf("00:16:3e:66:00:%02x", n)
	g.Berth(append([]string{"config", "device", "add", g.name, "nic", "nic", "name=nic0", "hwaddr=" + mac}, config...)...)
	return mac
}

// removed takes the NIC away and tells whether it was said to be removed. It is then, and if not it has it still.
func (g *guest) removed(what string, there func() bool) bool {
	g.t.Helper()
	_, err := g.Try(harness.Program("berth"), "config", "device", "remove", g.name, "nic")
	listed := strings.Contains(g.Berth("config", "device", "list", g.name), "nic")
	switch {
	case err == nil && there():
		g.t.Errorf("attempt: %s guest: %s: NOT STOPPED, it is said to be removed and works", g.kind(), what)
	case err == nil && listed, err != nil && !listed:
		g.t.Errorf("%s: the removal says %v, and of the device being there %t", what, err, listed)
	case err == nil:
		g.stopped(what, "all its network namespaces are looked through while it stands still")
	default:
		g.stopped(what, fmt.Sprintf("what cannot be seen is not said to be removed: %v", err))
	}
	if got := strings.TrimSpace(g.Berth("list", "-f", "csv", "-c", "s", g.name)); got != "RUNNING" {
		g.t.Errorf("after that the guest is %s", got)
	}
	return err == nil
}

// Root inside keeps the interface of a device in a network namespace of its own, wherever that can be, while the device is removed.
func TestHiddenInterfaces(t *testing.T) {
	eachKind(t, nil, func(g *guest) {
		g.withParent()
		for n, place := range slices.Sorted(maps.Keys(hide.Places)) {
			mac := g.nic(n, "nictype=macvlan", "parent="+parent)
			hidden := g.staying("hide-nic", place, "nic0")
			if hidden && !g.works(mac) {
				g.t.Fatalf("%s: the interface is not up", place)
			}
			done := g.removed("macvlan: "+place, func() bool { return g.works(mac) })
			if hidden && done == hide.Places[place] {
				g.t.Errorf("%s: removed: %t", place, done)
			}
			g.Berth("restart", "--force", g.name)
			if !done { // and then it can be
				g.Berth("config", "device", "remove", g.name, "nic")
			}
			if g.works(mac) {
				g.t.Errorf("%s: the interface is there still", place)
			}
			host := fmt.Sprintf("vethhidden%d", n)
			g.nic(n, "nictype=p2p", "host_name="+host)
			g.staying("hide-nic", place, "nic0")
			if !g.removed("veth: "+place, func() bool { return g.hasLink(host) }) {
				g.t.Errorf("%s: a veth is not removed", place)
			}
			g.Berth("restart", "--force", g.name)
		}
	})
}

// An interface that is never in one place for long.
func TestPassedOnInterfaces(t *testing.T) {
	eachKind(t, nil, func(g *guest) {
		g.withParent()
		for n := range 3 {
			mac := g.nic(n, "nictype=macvlan", "parent="+parent)
			g.staying("pass-nic", "nic0")
			if !g.removed("macvlan: passed on", func() bool { return g.works(mac) }) {
				g.t.Error("it was not found")
			}
		}
	})
}

// More network namespaces, and more interfaces, than anybody looks through.
func TestCrowdsOfNamespacesAndInterfaces(t *testing.T) {
	eachKind(t, nil, func(g *guest) {
		g.withParent()
		mac := g.nic(1, "nictype=macvlan", "parent="+parent)
		g.staying("crowd", "1100", "nic0")
		began := time.Now()
		g.removed("macvlan: behind 1100 namespaces", func() bool { return g.works(mac) })
		if took := time.Since(began); took > harness.Slow(time.Minute) {
			g.t.Errorf("attempt: %s guest: a crowd of namespaces: NOT STOPPED, the removal took %s", g.kind(), took)
		}
		began = time.Now()
		g.Berth("stop", "--force", g.name)
		if took := time.Since(began); took > harness.Slow(30*time.Second) {
			g.t.Errorf("attempt: %s guest: a crowd of namespaces: NOT STOPPED, the stop took %s", g.kind(), took)
		}
		g.stopped("a stop that waits for a crowd of namespaces", "the kernel takes them away by itself")
	})
}
