package project

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/spec"
)

// idRange are IDs of the host, first and last included.
type idRange struct{ first, last int64 }

// idRanges says which ranges there are, for errors.
const idRanges = "IDs and ranges of them, with commas between them: 1000,2000-2999"

func isIDRanges(value string) error {
	_, err := parseIDRanges(value)
	return err
}

// parseIDRanges reads a list such as "1000,2000-2999", and puts ranges in order that touch or overlap as one.
func parseIDRanges(value string) ([]idRange, error) {
	var ranges []idRange
	for _, item := range listed(value) {
		first, last, isRange := strings.Cut(item, "-")
		r, err := idRange{}, error(nil)
		if r.first, err = parseID(first); err == nil && isRange {
			r.last, err = parseID(last)
		} else {
			r.last = r.first
		}
		if err == nil && isRange && r.first >= r.last {
			err = fmt.Errorf("Start number %d must be lower than end number %d", r.first, r.last)
		}
		if err != nil {
			return nil, fmt.Errorf("Item %q: %w", item, err)
		}
		ranges = append(ranges, r)
	}
	slices.SortFunc(ranges, func(a, b idRange) int { return cmp.Compare(a.first, b.first) })
	merged := ranges[:0]
	for _, r := range ranges {
		if n := len(merged); n > 0 && r.first <= merged[n-1].last+1 {
			merged[n-1].last = max(merged[n-1].last, r.last)
		} else {
			merged = append(merged, r)
		}
	}
	return merged, nil
}

func parseID(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == math.MaxUint32 { // which is no ID for the kernel
		return 0, fmt.Errorf("Invalid number %q", s)
	}
	return int64(n), nil
}

// grantsIDs tells whether a project's configuration names the IDs of the host that an entry of raw.idmap does.
func grantsIDs(c map[string]string, e spec.IDMapEntry) bool {
	within := func(key string) bool {
		ranges, err := parseIDRanges(c[key])
		return err == nil && slices.ContainsFunc(ranges, func(r idRange) bool { return r.first <= e.HostID && e.HostID+e.Count-1 <= r.last })
	}
	return (e.UID || e.GID) && (!e.UID || within(uidKey)) && (!e.GID || within(gidKey))
}

func isAbsolute(value string) error {
	if !path.IsAbs(value) {
		return errors.New("Must be absolute file path")
	}
	return config.OneLine(value)
}

// isUplinkSubnet accepts a subnet as restricted.networks.subnets names it.
func isUplinkSubnet(value string) error {
	_, _, err := parseUplinkSubnet(value)
	return err
}

func parseUplinkSubnet(value string) (uplink string, subnet netip.Prefix, err error) {
	uplink, text, ok := strings.Cut(value, ":")
	if !ok || uplink == "" {
		return "", subnet, fmt.Errorf("Subnet %q invalid, must be in the format of \"<uplink network>:<subnet>\"", value)
	}
	subnet, err = netip.ParsePrefix(text)
	if err == nil && subnet != subnet.Masked() {
		err = fmt.Errorf("Not an IP network address %q", text)
	}
	return uplink, subnet, err
}

// checkSubnets refuses subnets that are no part of the routes of the network that they are said to be of.
func (s *Service) checkSubnets(was, now map[string]string) error {
	if now[subnetsKey] == "" || now[subnetsKey] == was[subnetsKey] {
		return nil
	}
	for _, item := range listed(now[subnetsKey]) {
		uplink, subnet, err := parseUplinkSubnet(item)
		if err != nil {
			return api.BadRequest("Invalid project configuration key %q value: %w", subnetsKey, err)
		}
		network, err := s.Network(uplink)
		if err != nil {
			return api.BadRequest("Invalid project configuration key %q value: Invalid uplink network %q: %w (%s=%q)", subnetsKey, uplink, err, subnetsKey, item)
		}
		if !routes(network, subnet) {
			return api.BadRequest("Invalid project configuration key %q value: Uplink network %q doesn't contain %q in its routes (allowed: parts of ipv4.routes=%q, ipv6.routes=%q)",
				subnetsKey, uplink, subnet, network["ipv4.routes"], network["ipv6.routes"])
		}
	}
	return nil
}

// routes tells whether a subnet is part of one of the routes in a network's configuration.
func routes(network map[string]string, subnet netip.Prefix) bool {
	return slices.ContainsFunc([]string{"ipv4.routes", "ipv6.routes"}, func(key string) bool {
		return slices.ContainsFunc(listed(network[key]), func(route string) bool {
			p, err := netip.ParsePrefix(route)
			return err == nil && p.Bits() <= subnet.Bits() && p.Contains(subnet.Addr())
		})
	})
}
