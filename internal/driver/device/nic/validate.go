package nic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
)

func keys(more ...config.Key) *config.Table {
	return config.NewTable(config.DeviceWords, append([]config.Key{
		{Name: "type", Restricted: config.Free},
		{Name: "nictype", Values: []string{bridged, macvlan, p2p}, Doc: "How the NIC is connected, where network does not say it"},
		{Name: "name", Validate: nameInside, Restricted: config.Free, Doc: "What the interface is called inside; unset: a free eth0, eth1, …"},
		{Name: "hwaddr", Validate: config.IsMAC, Restricted: config.Free, Doc: "MAC address inside; unset: one is made up and kept"},
		{Name: "mtu", Type: config.Integer, Validate: config.IsMTU, Restricted: config.Free, Doc: "MTU: largest packet, in bytes; unset: as the parent has it"},
		{Name: "boot.priority", Validate: config.IsUint32, Restricted: config.Free, Doc: "Order in which virtual machines try to boot from their devices, highest first"},
		config.UserKey,
	}, more...)...)
}

// nameInside keeps clear of the interface that every instance has from the kernel.
func nameInside(value string) error {
	if value == "lo" {
		return errors.New(`Network interface can't be "lo": each instance has its own`)
	}
	return interfaceName(value)
}

// interfaceName keeps clear of the names that the kernel has folders of settings by.
func interfaceName(value string) error {
	if value == "all" || value == "default" {
		return fmt.Errorf("Network interface can't be %q: the kernel has no interface of that name", value)
	}
	return config.IsInterfaceName(value)
}

// nameOnHost keeps clear of the interface that the host has from the kernel, too.
func nameOnHost(value string) error {
	if value == "lo" {
		return errors.New(`Network interface can't be "lo": the host has one`)
	}
	return interfaceName(value)
}

// vethKeys are those of NICs with an end on the host.
var vethKeys = []config.Key{
	{Name: "host_name", Validate: nameOnHost, Doc: "What the host's end is called; unset: a name that is free"},
	{Name: "ipv4.routes", Validate: config.ListOf(config.IsIPv4Network), Allowed: "networks such as 10.0.0.0/24 or 10.0.0.9/32, with commas between them", Live: true, Doc: "IPv4 subnets that the host reaches through this NIC, with commas between them"},
	{Name: "ipv6.routes", Validate: config.ListOf(config.IsIPv6Network), Allowed: "networks such as fd42::/64 or fd42::9/128, with commas between them", Live: true, Doc: "IPv6 subnets that the host reaches through this NIC, with commas between them"},
	{Name: "limits.ingress", Validate: config.IsBitSize, Live: true, Restricted: config.Free, Doc: "Bound of what the instance receives, in bit/s: 500kbit, 10Mbit"},
	{Name: "limits.egress", Validate: config.IsBitSize, Live: true, Restricted: config.Free, Doc: "Bound of what the instance sends, in bit/s: 500kbit, 10Mbit"},
	{Name: "limits.max", Validate: config.IsBitSize, Live: true, Restricted: config.Free, Doc: "The same bound for both directions: limits.ingress and limits.egress"},
}

var parentKey = config.Key{Name: "parent", Doc: "Bridge or interface of the host that the NIC is connected to"}

const noVLAN = "it does not put NICs into VLANs yet"

var (
	macvlanVLAN = config.Key{Name: "vlan", Validate: config.InRange(1, 4094), Unsupported: noVLAN, Doc: "Number of the VLAN to be in"}
	gvrp        = config.Key{Name: "gvrp", Type: config.Bool, Unsupported: noVLAN, Except: config.IsFalse, Doc: "Tell switches of the VLAN by GVRP"}
	untagged    = config.Key{Name: "vlan", Validate: config.Or(config.OneOf("none"), config.InRange(0, 4094)), Unsupported: noVLAN, Doc: "Number of the VLAN that packets without a tag are in; none: no such"}
	tagged      = config.Key{Name: "vlan.tagged", Validate: config.OneLine, Unsupported: noVLAN, Doc: "Numbers of the VLANs that packets with a tag may be in"}

	// unsupported are the keys without an effect, of whatever kind.
	unsupported = config.NewTable(config.DeviceWords, untagged, tagged, gvrp)
)

// CheckSupported implements device.Refuser. What is refused would fail at the start.
func (m *Module) CheckSupported(_ string, was, cfg device.Config) error {
	return unsupported.CheckSupported(was, cfg)
}

var tables = map[string]*config.Table{
	p2p:     keys(vethKeys...),
	macvlan: keys(parentKey, macvlanVLAN, gvrp),
	bridged: keys(append([]config.Key{
		parentKey,
		{Name: "network", Restricted: config.Free, Doc: "Network of this server to connect to"},
		{Name: "ipv4.address", Validate: config.Or(config.OneOf("none"), config.IsIPv4), Allowed: "an address such as 10.0.0.9, without a prefix length", Live: true, Restricted: config.Free, Doc: "IPv4 address that the network's DHCP keeps for this NIC"},
		{Name: "ipv6.address", Validate: config.Or(config.OneOf("none"), config.IsIPv6), Allowed: "an address such as fd42::9, without a prefix length", Live: true, Restricted: config.Free, Doc: "IPv6 address that the network's DHCP keeps for this NIC"},
		{Name: "security.mac_filtering", Type: config.Bool, Restricted: config.Free, Doc: "Drop what does not come from the NIC's own MAC address"},
		{Name: "security.ipv4_filtering", Type: config.Bool, Restricted: config.Free, Doc: "Drop what does not come from the NIC's own IPv4 addresses"},
		{Name: "security.ipv6_filtering", Type: config.Bool, Restricted: config.Free, Doc: "Drop what does not come from the NIC's own IPv6 addresses"},
		{Name: "security.port_isolation", Type: config.Bool, Restricted: config.Free, Doc: "Let the NIC reach the bridge, but no other NIC with this key"},
		untagged, tagged,
	}, vethKeys...)...),
}

// Tables are the keys of each kind of NIC.
func Tables() map[string]*config.Table { return maps.Clone(tables) }

// Tables implements device.Describer.
func (m *Module) Tables() map[string]*config.Table { return Tables() }

// Validate implements device.Module.
func (m *Module) Validate(_ context.Context, inst device.Instance, name string, cfg device.Config) error {
	if cfg["network"] != "" {
		for _, key := range []string{"nictype", "parent", "mtu", "maas.subnet.ipv4", "maas.subnet.ipv6"} {
			if cfg[key] != "" {
				return api.BadRequest("Cannot use %q property in conjunction with %q property", key, "network")
			}
		}
	}
	t, err := m.resolve(inst.Project, cfg)
	if err != nil {
		return api.BadRequest("Failed loading device %q: %w", name, err)
	}
	// What is an address at all is checked against a managed network, which says more.
	checked := device.Config{}
	for k, v := range cfg {
		_, err := netip.ParseAddr(v)
		if t.managed == nil || err != nil || k != "ipv4.address" && k != "ipv6.address" {
			checked[k] = v
		}
	}
	if err := tables[t.kind].Validate(checked); err != nil {
		return err
	}
	if err := checkName(inst, name, cfg); err != nil {
		return err
	}
	if t.kind != p2p && t.parent == "" {
		return api.BadRequest("Invalid value for device option %q: Required value", "parent")
	}
	if t.kind != bridged {
		return nil
	}
	for _, key := range []string{"security.mac_filtering", "security.ipv4_filtering", "security.ipv6_filtering"} {
		if config.IsTrue(cfg[key]) {
			return api.BadRequest("Invalid value for device option %q: filtering is not supported by this server", key)
		}
	}
	if err := checkAddresses(cfg, t); err != nil {
		return err
	}
	return m.checkTwice(inst, name, cfg, t)
}

func checkAddresses(cfg device.Config, t target) error {
	for _, key := range []string{"ipv4.address", "ipv6.address"} {
		value := cfg[key]
		if value == "none" {
			return api.BadRequest("Cannot have %s as none unless using security.%s_filtering", key, key[:4])
		}
		if value == "" || t.managed == nil {
			continue
		}
		subnet, dhcp, off := t.managed.IPv4, t.managed.DHCPv4, "DHCP is"
		if key == "ipv6.address" {
			subnet, dhcp, off = t.managed.IPv6, t.managed.DHCPv6, `DHCP or "ipv6.dhcp.stateful" are`
		}
		if !subnet.IsValid() || !dhcp {
			return api.BadRequest("Cannot specify %q when %s disabled (unless using security.%s_filtering) on network %q",
				key, off, key[:4], t.managed.Name)
		}
		addr, err := netip.ParseAddr(value)
		if err != nil || !subnet.Contains(addr) {
			return api.BadRequest("Device IP address %q not within network %q subnet", value, t.managed.Name)
		}
		if addr == subnet.Addr() {
			return api.BadRequest("IP address %q is assigned to parent managed network device %q", value, t.managed.Name)
		}
	}
	return nil
}

// checkName refuses the name of another NIC of the instance: the kernel has one of each, and the start would fail. A profile may be meant to be
// completed by another.
func checkName(inst device.Instance, name string, cfg device.Config) error {
	if inst.Profile || cfg["name"] == "" {
		return nil
	}
	for other, oc := range inst.Devices {
		if other != name && oc["type"] == "nic" && oc["name"] == cfg["name"] {
			return api.BadRequest("Invalid value for device option %q: Duplicate NIC name detected %q", "name", cfg["name"])
		}
	}
	return nil
}

// checkTwice refuses a second NIC on one managed network: both would register the instance's name.
func (m *Module) checkTwice(inst device.Instance, name string, cfg device.Config, t target) error {
	if inst.Profile || t.managed == nil || !t.managed.DNS {
		return nil
	}
	for other, oc := range inst.Devices {
		if other == name || oc["type"] != "nic" || oc["vlan"] != cfg["vlan"] {
			continue
		}
		ot, err := m.resolve(inst.Project, oc)
		if err == nil && ot.managed != nil && ot.managed.Name == t.managed.Name {
			return api.BadRequest("Instance DNS name %q already used on network", inst.Name)
		}
	}
	return nil
}
