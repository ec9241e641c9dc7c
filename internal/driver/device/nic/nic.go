// Package nic is the device type "nic": network interfaces of instances. Its kinds are bridged (by nictype and
// parent, or by network), p2p and macvlan.
//
// The host's end of a veth pair has a name that follows from the instance's UUID and the device, and an alias that says whose
// it is, so that a start that was cut off can be undone without anything having been kept.
package nic

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/driver/network/bridge"
)

// Network is what a NIC must know of the managed network it is on.
type Network struct {
	Name string // its interface's name too
	// IPv4 and IPv6 are the bridge's addresses with their subnets; zero where a family is off.
	IPv4, IPv6 netip.Prefix
	// DHCPv4 and DHCPv6 tell whether addresses can be reserved.
	DHCPv4, DHCPv6 bool
	// DNS tells that instances' names are registered.
	DNS bool
}

// Networks is what NICs need of managed networks; *network.Service implements it.
type Networks interface {
	// Network finds a network by name; api.NotFound if there is none.
	Network(project, name string) (Network, error)
	// Interface finds the managed network that an interface of the host belongs to.
	Interface(parent string) (Network, bool)
	// Reserve makes a NIC known to a network's DHCP and DNS. It refuses what another NIC has. Idempotent.
	Reserve(ctx context.Context, network, nic string, h bridge.Host) error
	// Conflict tells why Reserve would refuse.
	Conflict(network, nic string, h bridge.Host) error
	// Release makes a network forget a NIC, its lease included. That it knows none is no error.
	Release(ctx context.Context, network, nic string, hwaddr net.HardwareAddr) error
}

// Module implements device.Module for NICs.
type Module struct{ networks Networks }

var (
	_ device.Module     = (*Module)(nil)
	_ device.Refuser    = (*Module)(nil)
	_ device.HotPlugger = (*Module)(nil)
	_ device.Updater    = (*Module)(nil)
	_ device.Adder      = (*Module)(nil)
	_ device.Checker    = (*Module)(nil)
	_ device.Remover    = (*Module)(nil)
	_ device.Defaulter  = (*Module)(nil)
	_ device.Describer  = (*Module)(nil)
)

// New makes the module.
func New(n Networks) *Module { return &Module{networks: n} }

// Kinds of NIC.
const (
	bridged = "bridged"
	p2p     = "p2p"
	macvlan = "macvlan"
)

// target is what a NIC is connected to.
type target struct {
	kind    string
	parent  string // interface of the host; empty for p2p
	managed *Network
}

// resolve finds out kind and parent of a NIC.
func (m *Module) resolve(project string, cfg device.Config) (target, error) {
	if name := cfg["network"]; name != "" {
		n, err := m.networks.Network(project, name)
		if err != nil {
			return target{}, fmt.Errorf("Failed to load network %q for project %q: %w", name, project, err)
		}
		return target{kind: bridged, parent: n.Name, managed: &n}, nil
	}
	t := target{kind: cfg["nictype"], parent: cfg["parent"]}
	switch t.kind {
	case p2p:
		t.parent = ""
	case macvlan:
	case bridged:
		if n, ok := m.networks.Interface(t.parent); ok {
			t.managed = &n
		}
	default:
		return target{}, api.BadRequest("Unsupported device type")
	}
	return t, nil
}

// Defaults gives a new NIC a hardware address and a name inside, where its configuration has none.
func (m *Module) Defaults(inst device.Instance, name string, cfg device.Config, volatile map[string]string) (map[string]string, error) {
	set := map[string]string{}
	if cfg["hwaddr"] == "" && volatile["hwaddr"] == "" {
		set["hwaddr"] = freeMAC(inst)
	}
	if cfg["name"] == "" && volatile["name"] == "" {
		set["name"] = freeName(inst, name)
	}
	return set, nil
}

// freeMAC is a random address of the prefix that LXD's users know, other than the instance's other ones.
func freeMAC(inst device.Instance) string {
	for {
		mac := net.HardwareAddr{0x00, 0x16, 0x3e, 0, 0, 0}
		_, _ = rand.Read(mac[3:]) // never fails
		if !used(inst, "hwaddr", mac.String(), "") {
			return mac.String()
		}
	}
}

func freeName(inst device.Instance, device string) string {
	for i := 0; ; i++ {
		name := fmt.Sprintf("eth%d", i)
		if !used(inst, "name", name, device) {
			return name
		}
	}
}

// used tells whether another NIC of the instance has a value, given or volatile.
func used(inst device.Instance, key, value, except string) bool {
	for name, cfg := range inst.Devices {
		if name != except && cfg["type"] == "nic" && (cfg[key] == value || inst.Config["volatile."+name+"."+key] == value) {
			return true
		}
	}
	return false
}

// first is the value of a key in the device's configuration, or else its volatile one.
func first(key string, cfg device.Config, volatile map[string]string) string {
	if v := cfg[key]; v != "" {
		return v
	}
	return volatile[key]
}

// Add makes the NIC known to its managed network before it is first started. If its interface exists already, its routes are
// added again: they may have been removed together with the device that it replaced.
func (m *Module) Add(ctx context.Context, inst device.Instance, name string, cfg device.Config, volatile map[string]string) error {
	t, err := m.resolve(inst.Project, cfg)
	if err != nil {
		return err
	}
	if err := m.reserve(ctx, inst, name, cfg, volatile, t); err != nil || !hasRoutes(cfg) {
		return err
	}
	return m.spec(inst, name, cfg, volatile).routesAgain(volatile)
}

// Remove makes the managed network forget the NIC.
func (m *Module) Remove(ctx context.Context, inst device.Instance, name string, cfg device.Config, volatile map[string]string) error {
	t, err := m.resolve(inst.Project, cfg)
	if err != nil || t.managed == nil {
		return nil // a network that is gone has forgotten it
	}
	mac, _ := net.ParseMAC(first("hwaddr", cfg, volatile))
	return m.networks.Release(ctx, t.managed.Name, hostFile(inst, name), mac)
}

// Check refuses a change that would take an address or a name of another NIC. A NIC without a hardware address belongs to an
// instance that is being made and is not checked: a copy may start out with the addresses of its source.
func (m *Module) Check(_ context.Context, inst device.Instance, name string, cfg device.Config) error {
	t, err := m.resolve(inst.Project, cfg)
	if err != nil {
		return err
	}
	if t.managed == nil {
		// Whoever gives addresses there does not ask this server. A NIC that had one before starts as ever.
		for _, key := range []string{"ipv4.address", "ipv6.address"} {
			if cfg[key] != "" && t.kind == bridged {
				return api.BadRequest("Cannot use manually specified %s when using unmanaged parent bridge", key)
			}
		}
		return nil
	}
	volatile := map[string]string{"hwaddr": inst.Config["volatile."+name+".hwaddr"]}
	if volatile["hwaddr"] == "" {
		return nil
	}
	h, err := hostOf(inst, name, cfg, volatile, t)
	if err != nil {
		return err
	}
	return m.networks.Conflict(t.managed.Name, hostFile(inst, name), h)
}

func (m *Module) reserve(ctx context.Context, inst device.Instance, name string, cfg device.Config, volatile map[string]string, t target) error {
	if t.managed == nil {
		return nil
	}
	h, err := hostOf(inst, name, cfg, volatile, t)
	if err != nil {
		return err
	}
	return m.networks.Reserve(ctx, t.managed.Name, hostFile(inst, name), h)
}

// hostOf is what a managed network is told of a NIC.
func hostOf(inst device.Instance, name string, cfg device.Config, volatile map[string]string, t target) (bridge.Host, error) {
	mac, err := net.ParseMAC(first("hwaddr", cfg, volatile))
	if err != nil {
		return bridge.Host{}, fmt.Errorf("hardware address of device %q: %w", name, err)
	}
	h := bridge.Host{HWAddr: mac}
	if t.managed.DNS {
		h.Name = inst.Name
	}
	h.IPv4, _ = netip.ParseAddr(cfg["ipv4.address"])
	h.IPv6, _ = netip.ParseAddr(cfg["ipv6.address"])
	return h, nil
}

// hostFile is the name of the NIC's file in the network's folder: "[project_]instance.device".
func hostFile(inst device.Instance, name string) string {
	name = fileOf(name)
	if inst.Project != "" && inst.Project != api.ProjectDefault {
		return inst.Project + "_" + inst.Name + "." + name
	}
	return inst.Name + "." + name
}

// fileOf makes a device's name part of a file's: a hyphen is two and a slash is one, as LXD has it. Where that could be read in two
// ways, as of "a-b" and "a//b", a slash is escaped instead: what has two names has two files.
func fileOf(name string) string {
	var b strings.Builder
	for n := range len(name) {
		switch {
		case name[n] == '-':
			b.WriteString("--")
		case name[n] != '/':
			b.WriteByte(name[n])
		case n > 0 && strings.IndexByte("-/", name[n-1]) >= 0, n+1 < len(name) && strings.IndexByte("-/", name[n+1]) >= 0:
			b.WriteString("%2F")
		default:
			b.WriteByte('-')
		}
	}
	return b.String()
}

// prefixes reads a validated comma-separated list of subnets.
func prefixes(list string) []netip.Prefix {
	var out []netip.Prefix
	for _, item := range strings.Split(list, ",") {
		if p, err := netip.ParsePrefix(strings.TrimSpace(item)); err == nil && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}
