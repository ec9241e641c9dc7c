package nic

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/nettest"
)

// nested is a guest with network namespaces of its own, not all of which can be seen if there is an unseen.
type nested struct {
	running
	more   []*nettest.Guest
	unseen error
	looks  *int
}

func (r nested) NetworkNamespaces(ctx context.Context, look func(*os.File) error) error {
	*r.looks++
	for _, g := range append([]*nettest.Guest{r.guest}, r.more...) {
		if err := (running{g}).NetworkNamespaces(ctx, look); err != nil {
			return err
		}
	}
	return r.unseen
}

var macvlanNIC = device.Config{"type": "nic", "nictype": "macvlan", "parent": "br0t", "name": "eth0"}

// TestAMacvlanInANestedNamespaceIsRemoved: root inside moves it to a namespace of its own. Once it was said to be removed, and worked on.
func TestAMacvlanInANestedNamespaceIsRemoved(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	newBridge(t, "br0t")
	for name, decoy := range map[string]bool{"alone": false, "with another in its place": true} {
		t.Run(name, func(t *testing.T) {
			p := plug(t, macvlanNIC)
			inner := nettest.NewGuest(t)
			run := nested{running{p.g}, []*nettest.Guest{inner}, nil, new(int)}
			if decoy { // which has all that the device has inside but its place
				inGuest(t, p.g, "link", "add", "link", "eth0", "name", "decoy", "type", "macvlan", "mode", "bridge")
			}
			inGuest(t, p.g, "link", "set", "eth0", "netns", strconv.Itoa(inner.PID))
			inGuest(t, inner, "link", "set", "eth0", "alias", "mine", "up")
			if decoy {
				inGuest(t, p.g, "link", "set", "decoy", "name", "eth0")
				inGuest(t, p.g, "link", "set", "eth0", "alias", "berth:"+p.inst.ID+"/eth0")
			}
			must(t, p.m.Unplug(t.Context(), run, p.inst, "eth0", p.cfg, p.volatile))
			if links := inGuest(t, inner, "-o", "link") + inGuest(t, p.g, "-o", "link"); strings.Contains(links, "eth0") {
				t.Errorf("inside is %s", links)
			}
			looks := *run.looks
			must(t, p.m.Unplug(t.Context(), run, p.inst, "eth0", p.cfg, p.volatile)) // after a kill
			if *run.looks != looks {
				t.Error("what was removed is looked for again")
			}
		})
	}
}

// TestAMacvlanWhereNobodyHasLooked: the kernel gives the host's namespace a number in another when somebody asks there for what leads to it.
func TestAMacvlanWhereNobodyHasLooked(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	newBridge(t, "br0t")
	p := plug(t, macvlanNIC)
	inner := nettest.NewGuest(t)
	inGuest(t, p.g, "link", "set", "eth0", "netns", strconv.Itoa(inner.PID))
	must(t, p.m.Unplug(t.Context(), nested{running{p.g}, []*nettest.Guest{inner}, nil, new(int)}, p.inst, "eth0", p.cfg, p.volatile))
	if links := inGuest(t, inner, "-o", "link"); strings.Contains(links, "eth0") {
		t.Errorf("inside is %s", links)
	}
}

// TestAMacvlanThatMayBeHiddenIsNotSaidToBeGone, nor one that could not be deleted; the record of it stays until it is.
func TestAMacvlanThatMayBeHiddenIsNotSaidToBeGone(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	newBridge(t, "br0t")
	p := plug(t, macvlanNIC)
	inner := nettest.NewGuest(t)
	inGuest(t, p.g, "link", "set", "eth0", "netns", strconv.Itoa(inner.PID))
	run := nested{running{p.g}, nil, &device.Unseen{Err: errors.New("too many")}, new(int)}
	for range 2 {
		if err := p.m.Unplug(t.Context(), run, p.inst, "eth0", p.cfg, p.volatile); !errors.As(err, new(*device.Unseen)) {
			t.Errorf("the removal says %v", err)
		}
		p.stop(t) // as an undo does
	}
	raw, err := p.m.Look(t.Context(), run, p.inst, "eth0", p.cfg, p.volatile)
	must(t, err)
	must(t, p.m.Replug(t.Context(), run, p.inst, "eth0", p.cfg, p.volatile, raw)) // it never went
	if links := inGuest(t, p.g, "-o", "link") + inGuest(t, inner, "-o", "link"); strings.Count(links, "eth0@") != 1 {
		t.Errorf("inside is %s", links)
	}
	run.more = []*nettest.Guest{inner} // it is found all the same
	must(t, p.m.Unplug(t.Context(), run, p.inst, "eth0", p.cfg, p.volatile))
	if links := inGuest(t, inner, "-o", "link"); strings.Contains(links, "eth0") {
		t.Errorf("inside is %s", links)
	}
	must(t, p.m.Replug(t.Context(), run, p.inst, "eth0", p.cfg, p.volatile, raw)) // of a change that fails later
	if links := inGuest(t, p.g, "-o", "link"); !strings.Contains(links, "eth0@") {
		t.Errorf("inside is %s", links)
	}
	inGuest(t, p.g, "link", "delete", "eth0") // by the guest itself
	run.unseen = nil
	must(t, p.m.Unplug(t.Context(), run, p.inst, "eth0", p.cfg, p.volatile))
}

// TestWhatWasNeverPluggedTakesNothingAlong: a recovery unplugs, to be sure, a new macvlan that had not come inside, where the old one of the device is still.
func TestWhatWasNeverPluggedTakesNothingAlong(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	newBridge(t, "br0t")
	for name, started := range map[string]bool{"not made": false, "made": true} {
		t.Run(name, func(t *testing.T) {
			p := plug(t, macvlanNIC)
			next := p.inst
			next.Slot = 1
			cfg := device.Config{"type": "nic", "nictype": "macvlan", "parent": "br0t", "name": "eth0", "mtu": "1300"}
			if started {
				_, err := p.m.Start(t.Context(), next, "eth0", cfg, p.volatile)
				must(t, err)
			}
			before := inGuest(t, p.g, "-o", "link")
			must(t, p.m.Unplug(t.Context(), running{p.g}, next, "eth0", cfg, p.volatile))
			_, err := p.m.Stop(t.Context(), next, "eth0", cfg, p.volatile)
			must(t, err)
			if now := inGuest(t, p.g, "-o", "link"); now != before || !strings.Contains(now, "eth0@") {
				t.Errorf("inside was\n%s and is\n%s", before, now)
			}
			p.unplug(t)
			if links := inGuest(t, p.g, "-o", "link"); strings.Contains(links, "eth0") {
				t.Errorf("inside is %s", links)
			}
		})
	}
}

// TestOneOfTwoMacvlansOnAParent goes, and the other stays, whatever the guest has done to their marks.
func TestOneOfTwoMacvlansOnAParent(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	newBridge(t, "br0t")
	p := plug(t, macvlanNIC)
	second := device.Config{"type": "nic", "nictype": "macvlan", "parent": "br0t", "name": "eth1"}
	p.inst.Devices["eth1"] = second
	v := map[string]string{"hwaddr": "00:16:3e:00:00:95"}
	c, err := p.m.Start(t.Context(), p.inst, "eth1", second, v)
	must(t, err)
	must(t, p.m.Plug(t.Context(), running{p.g}, p.inst, "eth1", second, c))
	for _, name := range []string{"eth0", "eth1"} {
		inGuest(t, p.g, "link", "set", name, "alias", "berth:"+p.inst.ID+"/eth1")
	}
	p.unplug(t)
	if links := inGuest(t, p.g, "-o", "link"); strings.Contains(links, "eth0@") || !strings.Contains(links, "eth1@") {
		t.Errorf("inside is %s", links)
	}
	delete(p.inst.Devices, "eth0")
	must(t, p.m.Unplug(t.Context(), running{p.g}, p.inst, "eth1", second, v))
	if links := inGuest(t, p.g, "-o", "link"); strings.Contains(links, "eth1@") {
		t.Errorf("inside is %s", links)
	}
}

// TestAMacvlanOfADaemonWithoutRecords is known by what the instance has.
func TestAMacvlanOfADaemonWithoutRecords(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	newBridge(t, "br0t")
	p := plug(t, macvlanNIC)
	must(t, os.Remove(macvlanFile(p.inst, "eth0")))
	must(t, p.m.Adopt(t.Context(), p.inst, "eth0", p.cfg, p.volatile))
	inGuest(t, p.g, "link", "set", "eth0", "alias", "mine")
	p.unplug(t)
	if links := inGuest(t, p.g, "-o", "link"); strings.Contains(links, "eth0") {
		t.Errorf("inside is %s", links)
	}
	must(t, p.m.Adopt(t.Context(), p.inst, "eth0", p.cfg, p.volatile)) // the daemon was killed then
	must(t, p.m.Replug(t.Context(), running{p.g}, p.inst, "eth0", p.cfg, p.volatile, []byte(`{"name":"eth0","up":true}`)))
	if links := inGuest(t, p.g, "-o", "link"); !strings.Contains(links, "eth0@") {
		t.Errorf("inside is %s", links)
	}
	p.unplug(t)
}

// TestANICComesBackWithoutItsName, which the guest has given to another, and without the hardware address that it had: but it comes, and is up.
func TestANICComesBackWithoutItsName(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	newBridge(t, "br0t")
	for name, cfg := range map[string]device.Config{"veth": p2pNIC, "macvlan": macvlanNIC} {
		for when, gone := range map[string]bool{"removed": true, "still there": false} {
			t.Run(name+" "+when, func(t *testing.T) {
				p := plug(t, cfg)
				raw, err := p.m.Look(t.Context(), running{p.g}, p.inst, "eth0", p.cfg, p.volatile)
				must(t, err)
				if gone {
					p.unplug(t)
				} else {
					inGuest(t, p.g, "link", "set", "eth0", "down")
					inGuest(t, p.g, "link", "set", "eth0", "name", "other")
				}
				inGuest(t, p.g, "link", "add", "eth0", "type", "bridge")
				must(t, p.m.Replug(t.Context(), running{p.g}, p.inst, "eth0", p.cfg, p.volatile, raw))
				up := false
				for line := range strings.Lines(inGuest(t, p.g, "-o", "link")) {
					up = up || strings.Contains(line, p.volatile["hwaddr"]) && strings.Contains(line, ",UP")
				}
				if !up {
					t.Errorf("inside is %s", inGuest(t, p.g, "-o", "link"))
				}
				p.unplug(t)
			})
		}
	}
}

// TestAMacvlanComesBackThoughItsAddressIsTaken: one that is down takes any.
func TestAMacvlanComesBackThoughItsAddressIsTaken(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	newBridge(t, "br0t")
	p := plug(t, macvlanNIC)
	inGuest(t, p.g, "link", "set", "eth0", "address", "00:16:3e:00:00:aa")
	raw, err := p.m.Look(t.Context(), running{p.g}, p.inst, "eth0", p.cfg, p.volatile)
	must(t, err)
	inGuest(t, p.g, "link", "set", "eth0", "down")
	parent, err := netlink.LinkByName("br0t")
	must(t, err)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr = "mactaken", parent.Attrs().Index, []byte{0, 0x16, 0x3e, 0, 0, 0xaa}
	taken := &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}
	must(t, netlink.LinkAdd(taken))
	t.Cleanup(func() { must(t, netlink.LinkDel(taken)) })
	must(t, netlink.LinkSetUp(taken))
	must(t, p.m.Replug(t.Context(), running{p.g}, p.inst, "eth0", p.cfg, p.volatile, raw))
	if link := inGuest(t, p.g, "-o", "link", "show", "dev", "eth0"); !strings.Contains(link, ",UP") {
		t.Errorf("it is %s", link)
	}
	p.unplug(t)
}
