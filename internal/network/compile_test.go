package network

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestAKeyIsForItsFamily alone: it changes what the driver is told of that one, and nothing of the other.
func TestAKeyIsForItsFamily(t *testing.T) {
	both := map[string]string{"ipv4.address": "10.0.0.1/24", "ipv6.address": "fd42::1/64"}
	told := func(key, value string) (four, six []any) {
		config := maps.Clone(both)
		config[key] = value
		c, err := compile(record{Name: "br0", Config: config}, "/x")
		if err != nil {
			t.Fatal(err)
		}
		return []any{*c.IPv4, c.Firewall4}, []any{*c.IPv6, c.Firewall6}
	}
	four, six := told("user.x", "y")
	values := map[string][2]string{
		"address": {"10.9.9.1/24", "fd42:9::1/64"}, "dhcp": {"false", "false"}, "dhcp.expiry": {"2h", "2h"}, "firewall": {"false", "false"},
		"dhcp.ranges": {"10.0.0.5-10.0.0.9", "fd42::5-fd42::9"}, "nat": {"true", "true"}, "nat.address": {"192.0.2.1", "2001:db8::1"},
		"nat.order": {"after", "after"}, "routes": {"10.7.0.0/24", "fd47::/64"}, "routing": {"false", "false"},
		"dhcp.gateway": {"10.0.0.7", ""}, "dhcp.stateful": {"", "true"},
	}
	for _, key := range bridgeKeys.Keys() {
		family, name, _ := strings.Cut(key.Name, ".")
		n := slices.Index([]string{"ipv4", "ipv6"}, family)
		if n < 0 {
			continue
		}
		value := values[name][n]
		if value == "" {
			t.Errorf("%s has no value here: what it changes was not looked at", key.Name)
			continue
		}
		gotFour, gotSix := told(key.Name, value)
		if changed := []bool{!reflect.DeepEqual(gotFour, four), !reflect.DeepEqual(gotSix, six)}; !changed[n] || changed[1-n] {
			t.Errorf("%s=%s changes IPv4: %v, IPv6: %v", key.Name, value, changed[0], changed[1])
		}
	}
}
