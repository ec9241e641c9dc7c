package cli

import (
	"net"
	"regexp"
	"strings"

	"github.com/berthd/berth/api"
)

// instanceFilters all have to match.
type instanceFilters []func(*api.InstanceFull) bool

func (f instanceFilters) matches(i *api.InstanceFull) bool {
	for _, match := range f {
		if !match(i) {
			return false
		}
	}
	return true
}

// parseInstanceFilters makes filters from arguments: names, regular expressions, key=value.
func parseInstanceFilters(args []string) (instanceFilters, error) {
	var out instanceFilters
	for _, arg := range args {
		key, value, isPair := strings.Cut(arg, "=")
		if !isPair {
			out = append(out, nameFilter(arg))
			continue
		}
		if f := propertyFilter(key, value); f != nil {
			out = append(out, f)
			continue
		}
		out = append(out, configFilter(key, value))
	}
	return out, nil
}

// nameFilter matches the start of a name, or a regular expression. One that is not anchored covers all of the name.
func nameFilter(pattern string) func(*api.InstanceFull) bool {
	if !strings.ContainsAny(pattern, "^$*+?()[]{}|\\.") {
		return func(i *api.InstanceFull) bool { return strings.HasPrefix(i.Name, pattern) }
	}
	expr := pattern
	if !strings.HasPrefix(expr, "^") && !strings.HasSuffix(expr, "$") {
		expr = "^" + expr + "$"
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return func(i *api.InstanceFull) bool { return strings.HasPrefix(i.Name, pattern) }
	}
	return func(i *api.InstanceFull) bool { return re.MatchString(i.Name) || strings.HasPrefix(i.Name, pattern) }
}

// propertyFilter is for the short names of properties, nil for other keys.
func propertyFilter(key, value string) func(*api.InstanceFull) bool {
	values := strings.Split(value, ",")
	switch key {
	case "type":
		return func(i *api.InstanceFull) bool { return oneOf(i.Type, values) }
	case "status":
		return func(i *api.InstanceFull) bool { return oneOf(i.Status, values) }
	case "architecture":
		return func(i *api.InstanceFull) bool { return oneOf(i.Architecture, values) }
	case "location":
		return func(i *api.InstanceFull) bool { return oneOf(i.Location, values) }
	case "ipv4":
		return func(i *api.InstanceFull) bool { return hasAddress(i, "inet", values) }
	case "ipv6":
		return func(i *api.InstanceFull) bool { return hasAddress(i, "inet6", values) }
	}
	return nil
}

func oneOf(got string, values []string) bool {
	for _, v := range values {
		if strings.EqualFold(got, v) {
			return true
		}
	}
	return false
}

func hasAddress(i *api.InstanceFull, family string, wanted []string) bool {
	if i.State == nil {
		return false
	}
	for _, nic := range i.State.Network {
		for _, a := range nic.Addresses {
			if a.Family != family {
				continue
			}
			for _, w := range wanted {
				if inRange(net.ParseIP(a.Address), w) {
					return true
				}
			}
		}
	}
	return false
}

func inRange(ip net.IP, wanted string) bool {
	if _, subnet, err := net.ParseCIDR(wanted); err == nil {
		return subnet.Contains(ip)
	}
	other := net.ParseIP(wanted)
	return other != nil && other.Equal(ip)
}

// configFilter matches configuration: exactly, with shortened namespaces, or by a regular expression on the value.
func configFilter(key, value string) func(*api.InstanceFull) bool {
	re, err := regexp.Compile("^(?:" + value + ")$")
	match := func(v string) bool { return v == value || (err == nil && re.MatchString(v)) }
	return func(i *api.InstanceFull) bool {
		for k, v := range i.ExpandedConfig {
			if shortenedKey(key, k) && match(v) {
				return true
			}
		}
		return false
	}
}

// shortenedKey tells whether each dotted part of the short key starts the same part of the full key.
func shortenedKey(short, full string) bool {
	if short == full {
		return true
	}
	s, f := strings.Split(short, "."), strings.Split(full, ".")
	if len(s) != len(f) {
		return false
	}
	for k := range s {
		if !strings.HasPrefix(f[k], s[k]) {
			return false
		}
	}
	return true
}
