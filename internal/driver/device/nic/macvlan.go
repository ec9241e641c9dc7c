package nic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/device"
)

// macvlanRecord is what is kept of a macvlan from when it is made: the kernel tells nobody where it has gone, and all that is to be seen of it inside
// is the guest's to change.
type macvlanRecord struct {
	// Index is the one that it was made with, and mostly has inside too. 0: a daemon that kept no record made it.
	Index int `json:"index"`
	// Leaving is set when it is being removed from inside, and Gone once it has been.
	Leaving bool `json:"leaving,omitempty"`
	Gone    bool `json:"gone,omitempty"`
}

// macvlanFile is where the record of a device lies.
func macvlanFile(inst device.Instance, name string) string {
	return filepath.Join(inst.DevicesPath, fmt.Sprintf("nic.%s.%d.macvlan", url.PathEscape(name), inst.Slot))
}

// record writes what is kept. It does not sync: a power cut ends the interface too.
func (n *nicSpec) record(r macvlanRecord) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.WriteFile(n.file, raw, 0o600); err != nil {
		return fmt.Errorf("record of interface %s: %w", n.ifname, err)
	}
	return nil
}

// recorded reads it; false if there is none.
func (n *nicSpec) recorded() (r macvlanRecord, there bool) {
	raw, err := os.ReadFile(n.file)
	if err != nil {
		return r, false
	}
	_ = json.Unmarshal(raw, &r) // of one that was cut off nothing is known but that it was made
	return r, true
}

// wentInside tells whether a macvlan was moved into the instance and has not been removed from there by this server.
func (n *nicSpec) wentInside() (macvlanRecord, bool) {
	r, there := n.recorded()
	return r, there && !r.Gone && !n.onHost()
}

// onHost tells whether it is still where it was made.
func (n *nicSpec) onHost() bool {
	link, err := netlink.LinkByName(n.name("mac", 0))
	return err == nil && link.Attrs().Alias == n.alias()
}

// dropRecord removes the record, when the device stops. That of one that could not be removed from inside is kept for whoever tries again; it goes
// with the folder of the instance's devices.
func (n *nicSpec) dropRecord() error {
	if r, inside := n.wentInside(); inside && r.Leaving {
		return nil
	}
	if err := os.Remove(n.file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// neighbors tells of which other macvlans of the instance there are on the parent of one.
type neighbors struct {
	others int    // of other devices
	twin   string // the mark of the one of this device in the other slot; empty: it is not inside
}

// near looks which others there are.
func (m *Module) near(inst device.Instance, name string, t target) neighbors {
	near := neighbors{others: m.onParent(inst, name, t)}
	inst.Slot = 1 - inst.Slot
	twin := m.spec(inst, name, device.Config{"type": "nic", "nictype": macvlan}, nil)
	if _, inside := twin.wentInside(); inside {
		near.twin = twin.alias()
	}
	return near
}

// onParent counts the other devices of an instance that are macvlans on the same parent.
func (m *Module) onParent(inst device.Instance, name string, t target) int {
	n := 0
	for other, cfg := range inst.Devices {
		if other == name || cfg["type"] != "nic" {
			continue
		}
		if o := m.spec(inst, other, cfg, nil).target; o.kind == macvlan && o.parent == t.parent {
			n++
		}
	}
	return n
}

// removeTime bounds a removal: a guest makes as many interfaces on its own as it likes, and the kernel takes its time with each.
var removeTime = 20 * time.Second

// removeMacvlan removes a macvlan from the instance, in whichever of its network namespaces it is: one that is where it should be may be the guest's,
// made to be taken for it. That it never came inside, or has been removed, is no error; that it may be where nobody can look is.
func (n *nicSpec) removeMacvlan(ctx context.Context, run device.Running, near neighbors) error {
	made, inside := n.wentInside()
	if !inside {
		return nil
	}
	made.Leaving = true
	if err := n.record(made); err != nil {
		return err
	}
	removed, left := 0, 0
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	err := run.NetworkNamespaces(ctx, func(ns *os.File) error {
		h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		all, err := n.macvlansIn(h)
		if err != nil || len(all) == 0 {
			return err
		}
		gone := n.ours(all, made, near)
		for _, link := range gone {
			if ctx.Err() != nil {
				return fmt.Errorf("the instance has too many interfaces on %s: %w", n.target.parent, ctx.Err())
			}
			if err := h.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
				return fmt.Errorf("remove interface %s of the instance: %w", link.Attrs().Name, err)
			}
		}
		removed, left = removed+len(gone), left+len(all)-len(gone)
		return nil
	})
	switch unseen := (*device.Unseen)(nil); {
	case !errors.As(err, &unseen):
	case removed > 0:
		err = nil // it was found
	default:
		err = fmt.Errorf("it may be hidden inside, and can be removed once the instance is stopped: %w", err)
	}
	if err == nil && removed == 0 && left > near.others {
		err = fmt.Errorf("%d interfaces on %s in the instance have lost their marks", left, n.target.parent)
	}
	if err != nil {
		return err
	}
	made.Gone = true
	return n.record(made)
}

// ours are the device's among what is on its parent: what bears its mark, or its index where nothing does. With the last device on a parent goes
// all that the guest has made on it, whatever that bears.
func (n *nicSpec) ours(all []netlink.Link, made macvlanRecord, near neighbors) []netlink.Link {
	twin := func(link netlink.Link) bool { return near.twin != "" && link.Attrs().Alias == near.twin }
	if near.others == 0 {
		return slices.DeleteFunc(slices.Clone(all), twin)
	}
	for _, is := range []func(*netlink.LinkAttrs) bool{
		func(a *netlink.LinkAttrs) bool { return a.Alias == n.alias() },
		func(a *netlink.LinkAttrs) bool { return a.Index == made.Index },
		func(a *netlink.LinkAttrs) bool { return a.HardwareAddr.String() == n.hwaddr.String() },
	} {
		if at := slices.IndexFunc(all, func(link netlink.Link) bool { return !twin(link) && is(link.Attrs()) }); at >= 0 {
			return all[at : at+1]
		}
	}
	return nil
}
