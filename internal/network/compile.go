package network

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/network/bridge"
)

// record is a network as it is kept.
type record struct {
	Project     string            `json:"project"`
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Config      map[string]string `json:"config"`
	// HWAddr is the bridge's address unless its configuration says another: it must not change at each start.
	HWAddr string `json:"hwaddr"`
	// UUID tells this network from others that have had its name. It stands on what is made for it.
	UUID string `json:"uuid,omitempty"`
	// Older is set for a network from before there were UUIDs: its bridge may bear none yet.
	Older bool `json:"older,omitempty"`
}

// compile turns a validated record into what the driver takes.
func compile(r record, dir string) (bridge.Config, error) {
	get := func(key string) string { return bridgeKeys.Get(r.Config, key) }
	c := bridge.Config{
		Name: r.Name, ID: r.UUID, Adopt: r.Older, Dir: dir,
		Domain: get("dns.domain"), DNSMode: get("dns.mode"), Search: split(get("dns.search")),
		Firewall4: bridgeKeys.GetBool(r.Config, "ipv4.firewall"), Firewall6: bridgeKeys.GetBool(r.Config, "ipv6.firewall"),
		RawDnsmasq: get("raw.dnsmasq"), External: split(get("bridge.external_interfaces")),
	}
	hwaddr := get("bridge.hwaddr")
	if hwaddr == "" {
		hwaddr = r.HWAddr
	}
	c.HWAddr, _ = net.ParseMAC(hwaddr)
	if len(c.HWAddr) > 0 && c.HWAddr[0]&1 != 0 {
		return c, invalid(r.Name, "bridge.hwaddr", "%q is a multicast address", hwaddr)
	}
	c.MTU, _ = strconv.Atoi(get("bridge.mtu"))
	var err error
	if c.IPv4, err = compileFamily(r, "ipv4"); err != nil {
		return c, err
	}
	c.IPv6, err = compileFamily(r, "ipv6")
	return c, err
}

func compileFamily(r record, family string) (*bridge.Family, error) {
	get := func(key string) string { return bridgeKeys.Get(r.Config, family+"."+key) }
	on := func(key string) bool { return bridgeKeys.GetBool(r.Config, family+"."+key) }
	switch get("address") {
	case "", "none", "auto":
		return nil, nil
	}
	address, err := netip.ParsePrefix(get("address"))
	if err != nil {
		return nil, invalid(r.Name, family+".address", "invalid CIDR address: %s", get("address"))
	}
	f := &bridge.Family{
		Address: address, DHCP: on("dhcp"), Expiry: get("dhcp.expiry"), NAT: on("nat"), NATAfter: get("nat.order") == "after",
		Routing: on("routing"),
	}
	if family == "ipv6" {
		f.Stateful = on("dhcp.stateful")
	} else {
		f.Gateway, _ = netip.ParseAddr(get("dhcp.gateway"))
	}
	f.NATFrom, _ = netip.ParseAddr(get("nat.address"))
	for _, item := range split(get("routes")) {
		p, err := netip.ParsePrefix(item)
		if err != nil {
			return nil, invalid(r.Name, family+".routes", "invalid CIDR address: %s", item)
		}
		f.Routes = append(f.Routes, p)
	}
	for _, item := range split(get("dhcp.ranges")) {
		first, last, _ := strings.Cut(item, "-")
		a, errA := netip.ParseAddr(strings.TrimSpace(first))
		b, errB := netip.ParseAddr(strings.TrimSpace(last))
		if errA != nil || errB != nil {
			return nil, invalid(r.Name, family+".dhcp.ranges", "Item %q: Not an IP range", item)
		}
		f.Ranges = append(f.Ranges, bridge.Range{First: a, Last: b})
	}
	return f, nil
}

func invalid(network, key, format string, args ...any) error {
	return api.BadRequest("Invalid value for network %q option %q: %w", network, key, api.BadRequest(format, args...))
}

// split reads a comma-separated list; blanks around items do not count.
func split(list string) []string {
	var items []string
	for _, item := range strings.Split(list, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}
