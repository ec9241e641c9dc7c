package network

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/driver/network/bridge"
)

// bridgeKeys is the configuration of a managed bridge.
var bridgeKeys = config.NewTable(config.NetworkWords(""), append(append(
	familyKeys("ipv4", "IPv4", familyChecks{
		address: addressOr(config.IsIPv4Interface), single: config.IsIPv4,
		ranges: config.ListOf(config.IsIPv4Range), nets: config.ListOf(config.IsIPv4Network),
	}),
	familyKeys("ipv6", "IPv6", familyChecks{
		address: addressOr(config.IsIPv6Interface), single: config.IsIPv6,
		ranges: config.ListOf(config.IsIPv6Range), nets: config.ListOf(config.IsIPv6Network),
	})...),
	config.Key{Name: "bridge.driver", Values: []string{"native", "openvswitch"}, Default: "native", Live: true,
		Doc: "What makes the bridge: native, the kernel"},
	config.Key{Name: "bridge.external_interfaces", Validate: config.ListOf(externalInterface), Live: true,
		Doc: "Interfaces of the host that become ports of the bridge, with commas between them; they must have no addresses"},
	config.Key{Name: "bridge.hwaddr", Validate: config.IsMAC, Live: true, Doc: "Bridge's own MAC address; unset: one that follows from the network"},
	config.Key{Name: "bridge.mode", Values: []string{"standard", "fan"}, Default: "standard", Live: true,
		Doc: "How instances are addressed: standard, from the bridge's own subnets"},
	config.Key{Name: "bridge.mtu", Type: config.Integer, Validate: config.IsMTU, Default: "1500", Live: true, Doc: "MTU: largest packet that the bridge carries, in bytes"},
	config.Key{Name: "dns.domain", Validate: bridge.CheckDomain, Default: "lxd", Live: true,
		Doc: "Domain in which instances have names; DHCP tells it to them"},
	config.Key{Name: "dns.mode", Values: []string{"dynamic", "managed", "none"}, Default: "managed", Live: true,
		Doc: "Who has a name in DNS: managed, each instance by its own; dynamic, each DHCP client by the one it asks for; none"},
	config.Key{Name: "dns.search", Validate: config.ListOf(bridge.CheckDomain), Live: true,
		Doc: "Domains that instances append to short names, with commas between them; unset: dns.domain"},
	config.Key{Name: "ipv4.dhcp.gateway", Validate: config.IsIPv4, Live: true, Doc: "Router that DHCP tells to instances; unset: the bridge's own address"},
	config.Key{Name: "ipv6.dhcp.stateful", Type: config.Bool, Live: true, Doc: "Give IPv6 addresses by DHCP; unset: instances make their own from what the router announces"},
	config.Key{Name: "raw.dnsmasq", Live: true, Doc: "Lines of dnsmasq's configuration, added to those that are generated"},
	config.Key{Name: "user.*", Live: true, Restricted: config.Free, Doc: "Free for users; has no effect"},
)...)

// familyChecks are the validators in which IPv4 and IPv6 differ.
type familyChecks struct{ address, single, ranges, nets func(string) error }

func familyKeys(prefix, family string, is familyChecks) []config.Key {
	key := func(name string, k config.Key) config.Key {
		k.Name, k.Live = prefix+"."+name, true
		return k
	}
	return []config.Key{
		key("address", config.Key{Validate: is.address, Doc: family + " address of the bridge, with the prefix length of its subnet; none; or auto, which picks a subnet that is free"}),
		key("dhcp", config.Key{Type: config.Bool, Default: "true", Doc: "Answer " + family + " DHCP requests of instances"}),
		key("dhcp.expiry", config.Key{Validate: expiry, Default: "1h", Doc: "Lease time: how long an address is lent: a number of s, m, h, d or w, or infinite"}),
		key("dhcp.ranges", config.Key{Validate: is.ranges, Doc: "Addresses to give out, as FIRST-LAST, with commas between ranges; unset: the whole subnet"}),
		key("firewall", config.Key{Type: config.Bool, Default: "true", Doc: "Add rules to the host's firewall that accept the network's DHCP, DNS and forwarded traffic, and drop forged sources; what other rules drop stays dropped"}),
		key("nat", config.Key{Type: config.Bool, Default: "false", Doc: "Let instances reach other networks under an address of the host"}),
		key("nat.address", config.Key{Validate: is.single, Doc: "Address to appear under, with nat; unset: that of the interface by which packets leave"}),
		key("nat.order", config.Key{Values: []string{"before", "after"}, Default: "before", Doc: "Whether the rules of nat are met before or after those of others; after counts for both families"}),
		key("routes", config.Key{Validate: is.nets, Doc: "Further subnets that the host reaches through the bridge, with commas between them"}),
		key("routing", config.Key{Type: config.Bool, Default: "true", Doc: "Forward packets between the bridge and other interfaces of the host"}),
	}
}

func addressOr(check func(string) error) func(string) error {
	return func(value string) error {
		if value == "none" || value == "auto" {
			return nil
		}
		return check(value)
	}
}

func externalInterface(value string) error {
	if err := config.IsInterfaceName(value); err != nil {
		return fmt.Errorf("Invalid interface name %q: %w", value, err)
	}
	return nil
}

// expiry is a time as dnsmasq reads it: a number with an optional unit, or infinite.
func expiry(value string) error {
	digits := strings.TrimRight(value, "smhdw")
	if value == "infinite" || digits != "" && len(value)-len(digits) <= 1 && strings.Trim(digits, "0123456789") == "" {
		return nil
	}
	return fmt.Errorf("Invalid DHCP expiry %q (a number with the unit s, m, h, d or w, or infinite)", value)
}

// otherTypes are the types of network that LXD knows and this build does not serve.
var otherTypes = []string{"macvlan", "sriov", "ovn", "physical"}

func checkType(kind string) error {
	if kind == "bridge" {
		return nil
	}
	if slices.Contains(otherTypes, kind) {
		return api.BadRequest("Network type %q is not supported here, only bridge is", kind)
	}
	return api.BadRequest("Unknown driver")
}

func checkName(name string) error {
	if name == "" {
		return api.BadRequest("No name provided")
	}
	if err := config.IsInterfaceName(name); err != nil {
		return api.BadRequest("%w", err)
	}
	if strings.ContainsRune(name, ':') || strings.Trim(name, ".") == "" || strings.HasPrefix(name, "-") {
		return api.BadRequest("Network interface contains invalid characters")
	}
	return nil
}

// validate checks a whole configuration, keys and how they go together.
func validate(name string, c map[string]string) error {
	if err := bridgeKeys.Worded(config.NetworkWords(name)).Validate(c); err != nil {
		return err
	}
	switch {
	case c["bridge.mode"] == "fan":
		return api.BadRequest("Bridge mode %q is not supported here, only standard is", "fan")
	case c["bridge.driver"] == "openvswitch":
		return api.BadRequest("Open vSwitch isn't installed on this system")
	}
	_, err := compile(record{Name: name, Config: c}, "")
	return err
}
