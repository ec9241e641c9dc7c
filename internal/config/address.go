package config

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// IsAddress accepts an IP address.
func IsAddress(value string) error {
	if net.ParseIP(value) == nil {
		return fmt.Errorf("Not an IP address %q", value)
	}
	return nil
}

// IsIPv4 accepts an IPv4 address.
func IsIPv4(value string) error {
	if ip := net.ParseIP(value); ip == nil || ip.To4() == nil {
		return fmt.Errorf("Not an IPv4 address %q", value)
	}
	return nil
}

// IsIPv6 accepts an IPv6 address.
func IsIPv6(value string) error {
	if ip := net.ParseIP(value); ip == nil || ip.To4() != nil {
		return fmt.Errorf("Not an IPv6 address %q", value)
	}
	return nil
}

// IsIPv4Network accepts an IPv4 network whose host bits are zero.
func IsIPv4Network(value string) error {
	ip, network, err := net.ParseCIDR(value)
	if err != nil {
		return err
	}
	if ip.To4() == nil {
		return fmt.Errorf("Not an IPv4 network %q", value)
	}
	if !ip.Equal(network.IP) {
		return fmt.Errorf("Not an IPv4 network address %q", value)
	}
	return nil
}

// IsIPv6Network accepts an IPv6 network whose host bits are zero.
func IsIPv6Network(value string) error {
	ip, network, err := net.ParseCIDR(value)
	if err != nil {
		return err
	}
	if ip.To4() != nil {
		return fmt.Errorf("Not an IPv6 network %q", value)
	}
	if !ip.Equal(network.IP) {
		return fmt.Errorf("Not an IPv6 network address %q", value)
	}
	return nil
}

// IsIPv4Interface accepts the address of an interface with its network: "10.0.0.1/24".
func IsIPv4Interface(value string) error {
	ip, network, err := net.ParseCIDR(value)
	if err != nil {
		return err
	}
	if ip.To4() == nil {
		return fmt.Errorf("Not an IPv4 address %q", value)
	}
	if ones, _ := network.Mask.Size(); ip.Equal(network.IP) && ones < 31 {
		return fmt.Errorf("Not a usable IPv4 address %q", value)
	}
	return nil
}

// IsIPv6Interface accepts the address of an interface with its network: "fd42::1/64".
func IsIPv6Interface(value string) error {
	ip, network, err := net.ParseCIDR(value)
	if err != nil {
		return err
	}
	if ip.To4() != nil {
		return fmt.Errorf("Not an IPv6 address %q", value)
	}
	if ones, _ := network.Mask.Size(); ip.Equal(network.IP) && ones < 127 {
		return fmt.Errorf("Not a usable IPv6 address %q", value)
	}
	return nil
}

// IsIPv4Range accepts "FIRST-LAST" with both in IPv4 and in order.
func IsIPv4Range(value string) error { return isRange(value, IsIPv4) }

// IsIPv6Range accepts "FIRST-LAST" with both in IPv6 and in order.
func IsIPv6Range(value string) error { return isRange(value, IsIPv6) }

func isRange(value string, address func(string) error) error {
	first, last, ok := strings.Cut(value, "-")
	if !ok || first == "" || last == "" {
		return errors.New("IP range must contain start and end IP addresses")
	}
	if err := address(first); err != nil {
		return err
	}
	if err := address(last); err != nil {
		return err
	}
	if bytes.Compare(net.ParseIP(first).To16(), net.ParseIP(last).To16()) > 0 {
		return fmt.Errorf("Start address %q must be less than or equal to End address %q", first, last)
	}
	return nil
}

// IsPort accepts 1 to 65535.
func IsPort(value string) error {
	if n, err := strconv.ParseUint(value, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("Invalid port number %q", value)
	}
	return nil
}

// IsListenAddress accepts where to listen: "[::]:8443", ":8443", "10.0.0.1", "10.0.0.1:8443". Names are not
// resolved: whoever listens does that.
func IsListenAddress(value string) error {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		host, port = strings.Trim(value, "[]"), ""
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return fmt.Errorf("Couldn't resolve %q", value)
		}
	}
	if port != "" {
		if err := IsPort(port); err != nil {
			return err
		}
	}
	if host == "" || host == "*" || net.ParseIP(host) != nil || isHostName(host) {
		return nil
	}
	return fmt.Errorf("Couldn't resolve %q", value)
}

func isHostName(value string) bool {
	if len(value) > 253 {
		return false
	}
	for _, label := range strings.Split(value, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-') {
				return false
			}
		}
	}
	return true
}
