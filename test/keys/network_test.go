package keys_test

import (
	"strings"
	"testing"

	"github.com/berthd/berth/internal/network"
)

// Observers of networks change "br0", which has addresses of both families and DHCP, and put back what it had.
const networks = `
put() { $BERTH network set br0 "$@"; }
drop() { $BERTH network unset br0 "$1"; }
dnsmasq() { tr '\0' '\n' </proc/$(cat $DIR/networks/br0/dnsmasq.pid)/cmdline; }
rules() { nft list ruleset; }
`

var networkEntries = append(append(family("ipv4", map[string]string{
	"address": "10.39.2.1/24", "seen": "inet 10.39.2.1/24", "range": "10.39.1.50-10.39.1.60", "nat": "192.0.2.9", "route": "10.39.88.0/24",
	"forward": "/proc/sys/net/ipv4/conf/br0/forwarding", "back": "10.39.1.1/24",
}), family("ipv6", map[string]string{
	"address": "fd39:2::1/64", "seen": "inet6 fd39:2::1/64", "range": "fd39:1::50-fd39:1::60", "nat": "2001:db8::9", "route": "fd39:88::/64",
	"forward": "/proc/sys/net/ipv6/conf/br0/forwarding", "back": "fd39:1::1/64",
})...), []entry{
	{key: "bridge.driver", sh: `put bridge.driver=openvswitch`, want: `Open vSwitch isn't installed`},
	{key: "bridge.external_interfaces", sh: `ip link add ext0 type veth peer name ext1; put bridge.external_interfaces=ext0; ip link show ext0; drop bridge.external_interfaces; ip link del ext0`, want: `master br0`},
	{key: "bridge.hwaddr", sh: `put bridge.hwaddr=00:16:3e:04:05:06; ip link show br0; drop bridge.hwaddr`, want: `00:16:3e:04:05:06`},
	{key: "bridge.mode", sh: `put bridge.mode=fan`, want: `not supported here`},
	{key: "bridge.mtu", sh: `put bridge.mtu=1400; ip link show br0; dnsmasq; drop bridge.mtu`, want: `mtu 1400.*--dhcp-option-force=26,1400`},
	{key: "dns.domain", sh: `put dns.domain=keys.test; dnsmasq; drop dns.domain`, want: `--domain=keys.test\n`},
	{key: "dns.mode", sh: `dnsmasq | grep -c ignore-names; put dns.mode=dynamic; dnsmasq | grep -c ignore-names; drop dns.mode`, want: `^1\n0\n`},
	{key: "dns.search", sh: `put dns.search=one.test,two.test; dnsmasq; drop dns.search`, want: `option-force=119,one.test,two.test`},
	{key: "ipv4.dhcp.gateway", sh: `put ipv4.dhcp.gateway=10.39.1.9; dnsmasq; drop ipv4.dhcp.gateway`, want: `option-force=3,10.39.1.9`},
	{key: "ipv6.dhcp.stateful", sh: `dnsmasq | grep -c 'dhcp-range=.*fd39'; put ipv6.dhcp.stateful=true; dnsmasq; drop ipv6.dhcp.stateful`, want: `^0\n.*dhcp-range=fd39`},
	{key: "raw.dnsmasq", sh: `put raw.dnsmasq=bogus-priv; cat $DIR/networks/br0/dnsmasq.raw; dnsmasq; drop raw.dnsmasq`, want: `^bogus-priv\n`},
	{key: "user.*", sh: `put user.keys=walked; $BERTH network get br0 user.keys`, want: `^walked\n`},
}...)

// family has the entries that the two families of addresses share, v their values.
func family(prefix string, v map[string]string) []entry {
	list := []entry{
		{key: "address", sh: `put @.address=$address; ip addr show br0; put @.address=$back`, want: v["seen"]},
		{key: "dhcp", sh: `dnsmasq | grep -c -e "$served"; put @.dhcp=false; dnsmasq | grep -c -e "$served"; drop @.dhcp`, want: `^[1-9]\n0\n`},
		{key: "dhcp.expiry", sh: `put @.dhcp.stateful=true 2>/dev/null; put @.dhcp.expiry=37m; dnsmasq; drop @.dhcp.expiry; drop @.dhcp.stateful 2>/dev/null`, want: `dhcp-range=[^\n]*,37m\n`},
		{key: "dhcp.ranges", sh: `put @.dhcp.stateful=true 2>/dev/null; put @.dhcp.ranges=$range; dnsmasq; drop @.dhcp.ranges; drop @.dhcp.stateful 2>/dev/null`, want: `dhcp-range=` + strings.Replace(v["range"], "-", ",", 1)},
		{key: "firewall", sh: `all=$(rules | grep -c "$filtered"); put @.firewall=false; [ $(rules | grep -c "$filtered") -lt $all ] && echo fewer rules; drop @.firewall`, want: `fewer rules`},
		{key: "nat", sh: `rules | grep -c masquerade; put @.nat=true; rules | grep masquerade; drop @.nat`, want: `^0\n.*masquerade`},
		{key: "nat.address", sh: `put @.nat=true @.nat.address=$nat; rules; drop @.nat.address; drop @.nat`, want: `snat [^\n]*` + v["nat"]},
		{key: "nat.order", sh: `put @.nat=true; rules | grep 'hook postrouting' >$DIR/before; put @.nat.order=after; rules | grep 'hook postrouting' | diff - $DIR/before; drop @.nat.order; drop @.nat; rm $DIR/before`, want: `postrouting`},
		{key: "routes", sh: `put @.routes=$route; ip -4 route; ip -6 route; drop @.routes`, want: v["route"] + ` dev br0`},
		{key: "routing", sh: `cat $forward; put @.routing=false; cat $forward; rules; drop @.routing`, want: `^1\n(0\n|1\n.*@.*drop)`},
	}
	served, filtered := `--dhcp-range=10`, `tcp dport 53|udp dport 67|ip saddr`
	if prefix == "ipv6" {
		served, filtered = `ra-stateless`, `udp dport 547|ip6 saddr`
	}
	filtered = strings.ReplaceAll(filtered, "|", `\|`)
	set := "served='" + served + "'; filtered='" + filtered + "'; "
	for name, value := range v {
		set += name + "='" + value + "'; "
	}
	for n := range list {
		list[n].key = prefix + "." + list[n].key
		list[n].sh = set + strings.ReplaceAll(list[n].sh, "@", prefix)
		list[n].want = strings.ReplaceAll(list[n].want, "@", prefix)
	}
	return list
}

func TestEveryKeyOfNetworks(t *testing.T) {
	complete(t, network.Keys(), networkEntries)
	w := newWorld(t)
	w.Berth("network", "create", "br0", "ipv4.address=10.39.1.1/24", "ipv6.address=fd39:1::1/64", "ipv4.nat=false", "ipv6.nat=false")
	for n := range networkEntries {
		networkEntries[n].sh = networks + networkEntries[n].sh
	}
	w.observe(t, networkEntries)
	w.Berth("network", "delete", "br0")
}
