package cli

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
)

// instanceFilters all have to match.
type instanceFilters struct {
	matches    []func(*api.InstanceFull) bool
	needsState bool // one of them looks at what a list has only when it is asked for states
}

func (f instanceFilters) match(i *api.InstanceFull) bool {
	for _, match := range f.matches {
		if !match(i) {
			return false
		}
	}
	return true
}

// parseInstanceFilters makes filters from arguments: names, regular expressions, key=value.
func parseInstanceFilters(args []string) instanceFilters {
	var out instanceFilters
	for _, arg := range args {
		key, value, isPair := strings.Cut(arg, "=")
		switch property, isProperty := instanceProperties[key]; {
		case !isPair:
			out.matches = append(out.matches, nameFilter(arg))
		case isProperty:
			out.matches = append(out.matches, propertyFilter(property, value))
		case key == "ipv4", key == "ipv6":
			out.matches = append(out.matches, addressFilter(key, value))
			out.needsState = true
		default:
			out.matches = append(out.matches, configFilter(key, value))
		}
	}
	return out
}

// nameFilter matches the start of a name, or a regular expression.
func nameFilter(pattern string) func(*api.InstanceFull) bool {
	match := patternOf(pattern)
	return func(i *api.InstanceFull) bool { return strings.HasPrefix(i.Name, pattern) || match(i.Name) }
}

// instanceProperties are what a filter can name besides configuration; they are the texts of the API.
var instanceProperties = map[string]func(*api.InstanceFull) []string{
	"name":         func(i *api.InstanceFull) []string { return []string{i.Name} },
	"description":  func(i *api.InstanceFull) []string { return []string{i.Description} },
	"status":       func(i *api.InstanceFull) []string { return []string{i.Status} },
	"type":         func(i *api.InstanceFull) []string { return []string{i.Type} },
	"architecture": func(i *api.InstanceFull) []string { return []string{i.Architecture} },
	"location":     func(i *api.InstanceFull) []string { return []string{i.Location} },
	"project":      func(i *api.InstanceFull) []string { return []string{i.Project} },
	"ephemeral":    func(i *api.InstanceFull) []string { return []string{strconv.FormatBool(i.Ephemeral)} },
	"stateful":     func(i *api.InstanceFull) []string { return []string{strconv.FormatBool(i.Stateful)} },
	"profiles":     func(i *api.InstanceFull) []string { return i.Profiles },
}

// propertyFilter matches one of several values, separated by commas.
func propertyFilter(property func(*api.InstanceFull) []string, value string) func(*api.InstanceFull) bool {
	var patterns []func(string) bool
	for _, one := range strings.Split(value, ",") {
		patterns = append(patterns, propertyPattern(one))
	}
	return func(i *api.InstanceFull) bool {
		for _, match := range patterns {
			if slices.ContainsFunc(property(i), match) {
				return true
			}
		}
		return false
	}
}

// addressFilter matches one of several addresses or subnets, separated by commas; an empty value, those without an address.
func addressFilter(key, value string) func(*api.InstanceFull) bool {
	family := map[string]string{"ipv4": "inet", "ipv6": "inet6"}[key]
	return func(i *api.InstanceFull) bool {
		have := addresses(i, family)
		if value == "" {
			return len(have) == 0
		}
		for _, wanted := range strings.Split(value, ",") {
			if slices.ContainsFunc(have, func(a string) bool { return inRange(net.ParseIP(a), wanted) }) {
				return true
			}
		}
		return false
	}
}

func addresses(i *api.InstanceFull, family string) (out []string) {
	if i.State == nil {
		return nil
	}
	for _, nic := range i.State.Network {
		for _, a := range nic.Addresses {
			if a.Family == family {
				out = append(out, a.Address)
			}
		}
	}
	return out
}

func inRange(ip net.IP, wanted string) bool {
	if _, subnet, err := net.ParseCIDR(wanted); err == nil {
		return subnet.Contains(ip)
	}
	other := net.ParseIP(wanted)
	return other != nil && other.Equal(ip)
}

// configFilter matches configuration, whose namespaces can be shortened; an empty value, where the key is not set.
func configFilter(key, value string) func(*api.InstanceFull) bool {
	match := patternOf(value)
	return func(i *api.InstanceFull) bool {
		set := false
		for k, v := range i.ExpandedConfig {
			if !shortenedKey(key, k) {
				continue
			}
			if match(v) {
				return true
			}
			set = true
		}
		return value == "" && !set
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
