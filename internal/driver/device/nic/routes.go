package nic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/hostroute"
)

var _ device.Adopter = (*Module)(nil)

// routesOf is the owner of a device's routes. What it has goes with the folder of the instance's devices; a device that is about to take
// the place of this one may have the same routes.
func routesOf(inst device.Instance, name string) hostroute.Owner {
	file := func(slot int) string {
		return filepath.Join(inst.DevicesPath, fmt.Sprintf("nic.%s.%d.routes", url.PathEscape(name), slot))
	}
	return hostroute.Owner{File: file(inst.Slot), Partner: file(1 - inst.Slot), Protocol: unix.RTPROT_BOOT}
}

// syncRoutes brings the host's routes to the instance to what the configuration says.
func (n *nicSpec) syncRoutes(host netlink.Link) error {
	via, err := n.routeLink(host)
	if err != nil {
		return err
	}
	err = n.routes.Sync(via, n.wantedRoutes())
	if taken := (*hostroute.TakenError)(nil); errors.As(err, &taken) {
		key := "ipv4.routes"
		if taken.Dst.Addr().Is6() {
			key = "ipv6.routes"
		}
		return api.BadRequest("Failed adding route %q of %q to %q: %w", taken.Dst, key, via.Attrs().Name, err)
	}
	return err
}

func (n *nicSpec) wantedRoutes() []netip.Prefix {
	return slices.Concat(prefixes(n.cfg["ipv4.routes"]), prefixes(n.cfg["ipv6.routes"]))
}

func hasRoutes(cfg device.Config) bool { return cfg["ipv4.routes"] != "" || cfg["ipv6.routes"] != "" }

// routeLink is the interface that leads to the instance.
func (n *nicSpec) routeLink(host netlink.Link) (netlink.Link, error) {
	if n.target.kind == bridged {
		return netlink.LinkByName(n.target.parent)
	}
	return host, nil
}

// routesAgain adds the host's routes to a device again: its interface may have lost them.
func (n *nicSpec) routesAgain(volatile map[string]string) error {
	if !hasRoutes(n.cfg) {
		return nil
	}
	host, err := n.hostEnd(volatile)
	if err != nil || host == nil {
		return err
	}
	return n.syncRoutes(host)
}

// Adopt implements device.Adopter. Routes that the kernel has dropped meanwhile are added again. A daemon that kept no record of them made
// all that the configuration names, and kept none of macvlans either.
func (m *Module) Adopt(_ context.Context, inst device.Instance, name string, cfg device.Config, volatile map[string]string) error {
	n := m.spec(inst, name, cfg, volatile)
	if n.target.kind == macvlan {
		if _, there := n.recorded(); there {
			return nil
		}
		return n.record(macvlanRecord{})
	}
	if !hasRoutes(cfg) {
		return nil
	}
	host, err := n.hostEnd(volatile)
	if err != nil || host == nil {
		return err
	}
	via, err := n.routeLink(host)
	if err != nil {
		return err
	}
	wanted := n.wantedRoutes()
	like := func(p netip.Prefix) bool {
		return slices.ContainsFunc(wanted, func(w netip.Prefix) bool { return w.Masked() == p })
	}
	if err := n.routes.Claim(via, like); err != nil {
		return err
	}
	return n.syncRoutes(host)
}
