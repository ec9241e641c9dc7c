package bridge

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const sysNet = "/proc/sys/net"

// sysctls sets what the kernel must do with the bridge, and turns forwarding on for the host where it is needed.
func sysctls(c Config) error {
	set := func(value string, path ...string) error {
		return writeSysctl(filepath.Join(append([]string{sysNet}, path...)...), value)
	}
	if f := c.IPv4; f != nil {
		if f.Routing {
			if err := set("1", "ipv4", "ip_forward"); err != nil {
				return err
			}
		}
		if err := set(flag(f.Routing), "ipv4", "conf", c.Name, "forwarding"); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(sysNet, "ipv6")); errors.Is(err, os.ErrNotExist) {
		if c.IPv6 != nil {
			return fmt.Errorf("bridge %s: the kernel has no IPv6", c.Name)
		}
		return nil
	}
	if c.IPv6 == nil {
		return set("1", "ipv6", "conf", c.Name, "disable_ipv6")
	}
	if c.IPv6.Routing {
		if err := forwardIPv6(); err != nil {
			return err
		}
	}
	for _, s := range [][2]string{
		{"disable_ipv6", "0"}, {"autoconf", "0"}, {"accept_dad", "0"}, {"forwarding", flag(c.IPv6.Routing)},
	} {
		if err := set(s[1], "ipv6", "conf", c.Name, s[0]); err != nil {
			return err
		}
	}
	return nil
}

// forwardIPv6 turns on forwarding of IPv6. The kernel then ignores router advertisements, from which the host may
// have its own default route, unless accept_ra is 2.
func forwardIPv6() error {
	all := filepath.Join(sysNet, "ipv6/conf/all/forwarding")
	if read(all) == "1" {
		return nil
	}
	conf := filepath.Join(sysNet, "ipv6/conf")
	entries, err := os.ReadDir(conf)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(conf, e.Name(), "accept_ra")
		if read(path) != "1" {
			continue
		}
		if err := writeSysctl(path, "2"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return writeSysctl(all, "1")
}

func writeSysctl(path, value string) error {
	if read(path) == value {
		return nil // may be read-only and right
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("set kernel parameter: %w", err)
	}
	return nil
}

func read(path string) string {
	data, _ := os.ReadFile(path)
	return strings.TrimSpace(string(data))
}

func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}
