package nic

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/nettest"
)

// plugged is a NIC in a guest, which is in g.
type plugged struct {
	m        *Module
	g        *nettest.Guest
	inst     device.Instance
	cfg      device.Config
	volatile map[string]string
}

func plug(t *testing.T, cfg device.Config) *plugged {
	t.Helper()
	p := &plugged{m: New(networks{}), g: nettest.NewGuest(t), cfg: cfg, volatile: map[string]string{"hwaddr": "00:16:3e:00:00:96"}}
	p.inst = instance(t, map[string]device.Config{"eth0": cfg})
	c, err := p.m.Start(t.Context(), p.inst, "eth0", cfg, p.volatile)
	must(t, err)
	t.Cleanup(func() { p.stop(t) })
	must(t, p.m.Plug(t.Context(), running{p.g}, p.inst, "eth0", cfg, c))
	p.volatile["host_name"] = c.Volatile["host_name"]
	return p
}

func (p *plugged) unplug(t *testing.T) {
	t.Helper()
	must(t, p.m.Unplug(t.Context(), running{p.g}, p.inst, "eth0", p.cfg, p.volatile))
}

func (p *plugged) stop(t *testing.T) {
	_, err := p.m.Stop(t.Context(), p.inst, "eth0", p.cfg, p.volatile)
	must(t, err)
}

var p2pNIC = device.Config{"type": "nic", "nictype": "p2p", "name": "eth0"}

// forge moves the guest's end of a NIC to a namespace of the guest's, and puts one of its own in its place, with the indexes that it has.
func forge(t *testing.T, p *plugged) {
	t.Helper()
	host, err := netlink.LinkByName(p.volatile["host_name"])
	must(t, err)
	inGuest(t, p.g, "link", "set", "eth0", "netns", strconv.Itoa(nettest.NewGuest(t).PID))
	inGuest(t, p.g, "link", "add", "eth0", "index", fmt.Sprint(host.Attrs().ParentIndex), "type", "veth",
		"peer", "name", "evil", "index", fmt.Sprint(host.Attrs().Index))
	inGuest(t, p.g, "link", "set", "eth0", "alias", "mine")
}

// TestForeignVethIsNotMovedToTheHost: a guest gives a veth of its own the indexes of its NIC.
func TestForeignVethIsNotMovedToTheHost(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	before := countLinks(t)
	p := plug(t, p2pNIC)
	forge(t, p)
	inside := inGuest(t, p.g, "-o", "link")
	raw, err := p.m.Look(t.Context(), running{p.g}, p.inst, "eth0", p.cfg, p.volatile)
	must(t, err)
	must(t, p.m.Replug(t.Context(), running{p.g}, p.inst, "eth0", p.cfg, p.volatile, raw)) // of a change that failed before
	if _, err := netlink.LinkByName(p.volatile["host_name"]); err != nil {
		t.Errorf("the host's end: %v", err)
	}
	p.unplug(t)
	if now := inGuest(t, p.g, "-o", "link"); now != inside {
		t.Errorf("the guest's own interfaces were\n%s and are\n%s", inside, now)
	}
	p.stop(t)
	if n := countLinks(t); n != before {
		links, _ := netlink.LinkList()
		t.Errorf("the host has %d interfaces more: %v", n-before, links)
	}
}

// TestANICThatTheGuestMovedOnComesBack: from a change that failed.
func TestANICThatTheGuestMovedOnComesBack(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	p := plug(t, p2pNIC)
	inGuest(t, p.g, "link", "set", "eth0", "netns", strconv.Itoa(nettest.NewGuest(t).PID))
	raw, err := p.m.Look(t.Context(), running{p.g}, p.inst, "eth0", p.cfg, p.volatile)
	must(t, err)
	p.unplug(t)
	for range 2 {
		must(t, p.m.Replug(t.Context(), running{p.g}, p.inst, "eth0", p.cfg, p.volatile, raw))
	}
	if links := inGuest(t, p.g, "-o", "link", "show", "dev", "eth0"); !strings.Contains(links, p.volatile["hwaddr"]) {
		t.Errorf("the interface is %s", links)
	}
}

// TestWhatAGuestChoseComesBack: the hardware address and the size of packets are set from inside.
func TestWhatAGuestChoseComesBack(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	newBridge(t, "br0t")
	for name, cfg := range map[string]device.Config{"veth": p2pNIC, "macvlan": {"type": "nic", "nictype": "macvlan", "parent": "br0t", "name": "eth0"}} {
		t.Run(name, func(t *testing.T) {
			p := plug(t, cfg)
			inGuest(t, p.g, "link", "set", "eth0", "address", "00:16:3e:00:00:aa", "mtu", "1280")
			raw, err := p.m.Look(t.Context(), running{p.g}, p.inst, "eth0", p.cfg, p.volatile)
			must(t, err)
			p.unplug(t)
			must(t, p.m.Replug(t.Context(), running{p.g}, p.inst, "eth0", p.cfg, p.volatile, raw))
			if link := inGuest(t, p.g, "-o", "link", "show", "dev", "eth0"); !strings.Contains(link, "00:16:3e:00:00:aa") || !strings.Contains(link, "mtu 1280") {
				t.Errorf("the interface is %s", link)
			}
			p.unplug(t)
		})
	}
}

// TestSquattedNameDoesNotKeepANIC: a guest has every name that its interface has on the host.
func TestSquattedNameDoesNotKeepANIC(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	newBridge(t, "br0t")
	for name, cfg := range map[string]device.Config{"veth": p2pNIC, "macvlan": {"type": "nic", "nictype": "macvlan", "parent": "br0t", "name": "eth0"}} {
		t.Run(name, func(t *testing.T) {
			before := countLinks(t)
			m, g := New(networks{}), nettest.NewGuest(t)
			run, inst, v := running{g}, instance(t, map[string]device.Config{"eth0": cfg}), map[string]string{"hwaddr": "00:16:3e:00:00:97"}
			c, err := m.Start(t.Context(), inst, "eth0", cfg, v)
			must(t, err)
			inGuest(t, g, "link", "property", "add", "dev", "lo", "altname", c.NICs[0].HostName)
			must(t, m.Plug(t.Context(), run, inst, "eth0", cfg, c))
			v["host_name"] = c.Volatile["host_name"]
			must(t, m.Unplug(t.Context(), run, inst, "eth0", cfg, v))
			if links := inGuest(t, g, "-o", "link"); strings.Contains(links, "eth0") {
				t.Errorf("it is still inside: %s", links)
			}
			_, err = m.Stop(t.Context(), inst, "eth0", cfg, v)
			must(t, err)
			if n := countLinks(t); n != before {
				t.Errorf("%d interfaces are left", n-before)
			}
		})
	}
}

// TestAMacvlanTakesAlongWhatIsOnIt: on a macvlan a guest can make others on the same parent, and have them look like those of a device.
func TestAMacvlanTakesAlongWhatIsOnIt(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	newBridge(t, "br0t")
	p := plug(t, device.Config{"type": "nic", "nictype": "macvlan", "parent": "br0t", "name": "eth0"})
	inGuest(t, p.g, "link", "add", "link", "eth0", "name", "more", "type", "macvlan")
	inGuest(t, p.g, "link", "set", "more", "alias", "berth:"+p.inst.ID+"/eth9")
	p.unplug(t)
	if links := inGuest(t, p.g, "-o", "link"); strings.Contains(links, "macvlan") || strings.Contains(links, "more") || strings.Contains(links, "eth0") {
		t.Errorf("inside is %s", links)
	}
}

// TestAGuestsOwnMacvlanIsNotOurs: its parent has the index of the host's, in a namespace of the guest's.
func TestAGuestsOwnMacvlanIsNotOurs(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	newBridge(t, "br0t")
	p := plug(t, device.Config{"type": "nic", "nictype": "macvlan", "parent": "br0t", "name": "eth0"})
	parent, err := netlink.LinkByName("br0t")
	must(t, err)
	other := nettest.NewGuest(t)
	inGuest(t, other, "link", "add", "low", "index", fmt.Sprint(parent.Attrs().Index), "type", "bridge")
	inGuest(t, other, "link", "add", "link", "low", "name", "own", "type", "macvlan")
	inGuest(t, other, "link", "set", "own", "netns", strconv.Itoa(p.g.PID))
	inGuest(t, p.g, "link", "set", "own", "alias", "berth:"+p.inst.ID+"/eth0")
	p.unplug(t)
	if links := inGuest(t, p.g, "-o", "link"); !strings.Contains(links, "own@") || strings.Contains(links, "eth0@") {
		t.Errorf("inside is %s", links)
	}
}

// TestAForeignInterfaceWithANameOfOursIsAnError: what only Berth can have made is not taken from another in silence.
func TestAForeignInterfaceWithANameOfOursIsAnError(t *testing.T) {
	nettest.Need(t)
	inst := instance(t, map[string]device.Config{"eth0": p2pNIC})
	n := nicSpec{owner: ownerOf(inst, "eth0")}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.name("berth", 0)
	br := &netlink.Bridge{LinkAttrs: attrs}
	must(t, netlink.LinkAdd(br))
	t.Cleanup(func() { must(t, netlink.LinkDel(br)) })
	must(t, netlink.LinkSetAlias(br, "mine"))
	m, before := New(networks{}), countLinks(t)
	if _, err := m.Start(t.Context(), inst, "eth0", p2pNIC, map[string]string{"hwaddr": "00:16:3e:00:00:96"}); err == nil || !strings.Contains(err.Error(), attrs.Name) ||
		!strings.Contains(err.Error(), "in use by something else") {
		t.Errorf("the start says %v", err)
	}
	if _, err := m.Stop(t.Context(), inst, "eth0", p2pNIC, nil); err == nil || !strings.Contains(err.Error(), attrs.Name) {
		t.Errorf("the stop says %v", err)
	}
	if n := countLinks(t); n != before {
		t.Errorf("%d interfaces more", n-before)
	}
}
