package bridge

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// options builds dnsmasq's command line. Every value passes through add or path, which keep it from becoming a further field or
// option.
type options struct {
	list []string
	err  error
}

// add appends "--name=field,field…". dnsmasq splits values at commas, so a field holds none, and no control characters.
func (o *options) add(name string, fields ...string) {
	for _, f := range fields {
		if f == "" || strings.ContainsFunc(f, func(r rune) bool { return r == ',' || r < ' ' || r == 0x7f }) {
			o.fail(name, f)
			return
		}
	}
	if len(fields) == 0 {
		o.list = append(o.list, "--"+name)
		return
	}
	o.list = append(o.list, "--"+name+"="+strings.Join(fields, ","))
}

// path appends an option whose value dnsmasq takes whole: only its end is special.
func (o *options) path(name string, elem ...string) {
	p := filepath.Join(elem...)
	if strings.ContainsAny(p, "\x00\n\r") {
		o.fail(name, p)
		return
	}
	o.list = append(o.list, "--"+name+"="+p)
}

func (o *options) fail(name, value string) {
	if o.err == nil {
		o.err = fmt.Errorf("invalid value %q of dnsmasq's option %s", value, name)
	}
}

// domainName is a domain in ASCII, with underscores as in SRV records; no label is empty (RFC 1035, 2.3.1, widened).
var domainName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$`)

// maxDomain is the longest name that DNS takes (RFC 1035, 2.3.4), without its final dot.
const maxDomain = 253

// CheckDomain tells whether a value can be used as a domain in dnsmasq's options and answers.
func CheckDomain(value string) error {
	if len(value) > maxDomain || !domainName.MatchString(value) {
		return fmt.Errorf("Invalid domain name %q (labels of letters, digits, - and _, separated by dots, at most %d characters)", value, maxDomain)
	}
	return nil
}

func (o *options) domain(name, format, domain string, more ...string) {
	if err := CheckDomain(domain); err != nil {
		o.fail(name, domain)
		return
	}
	o.add(name, append([]string{fmt.Sprintf(format, domain)}, more...)...)
}

// dnsmasqArgs is the command line for a configuration. dnsmasq stays in the foreground: it is the process that was
// started, and no other has to be looked for.
func dnsmasqArgs(c Config) ([]string, error) {
	o := &options{list: []string{"dnsmasq"}}
	o.add("keep-in-foreground")
	o.add("strict-order")
	o.add("bind-interfaces")
	o.add("except-interface", "lo")
	o.path("pid-file", c.Dir, pidFile)
	o.add("no-ping")
	o.add("interface", c.Name)
	o.add("dhcp-rapid-commit")
	o.add("quiet-dhcp")
	o.add("quiet-dhcp6")
	o.add("quiet-ra")
	if dhcp4(c) || dhcp6(c) {
		o.add("dhcp-no-override")
		o.add("dhcp-authoritative")
		o.path("dhcp-leasefile", c.Dir, leasesFile)
		o.path("dhcp-hostsfile", c.Dir, hostsDir)
	}
	if c.DNSMode != "dynamic" {
		// Names come from the hosts' files alone: a client could call itself "wpad", or by another instance's name.
		o.add("dhcp-ignore-names")
	}
	ipv4Options(o, c)
	ipv6Options(o, c)
	if c.DNSMode != "none" {
		domain := c.Domain
		if domain == "" {
			domain = "lxd"
		}
		o.domain("domain", "%s", domain)
		o.domain("interface-name", "_gateway.%s", domain, c.Name)
		o.domain("server", "/%s/", domain)
	}
	o.path("conf-file", c.Dir, confFile)
	for _, u := range userArgs(c.Dir) {
		o.add(u[0], u[1])
	}
	return o.list, o.err
}

func dhcp4(c Config) bool { return c.IPv4 != nil && c.IPv4.DHCP }
func dhcp6(c Config) bool { return c.IPv6 != nil && c.IPv6.DHCP }

func ipv4Options(o *options, c Config) {
	f := c.IPv4
	if f == nil {
		return
	}
	o.add("listen-address", f.Address.Addr().String())
	if !f.DHCP {
		return
	}
	if f.Gateway.IsValid() {
		o.add("dhcp-option-force", "3", f.Gateway.String())
	}
	if c.MTU != 0 && c.MTU != defaultMTU {
		o.add("dhcp-option-force", "26", strconv.Itoa(c.MTU))
	}
	if len(c.Search) > 0 {
		for _, domain := range c.Search {
			if err := CheckDomain(domain); err != nil {
				o.fail("dhcp-option-force", domain)
			}
		}
		o.add("dhcp-option-force", append([]string{"119"}, c.Search...)...)
	}
	for _, r := range ranges(f) {
		o.add("dhcp-range", r.First.String(), r.Last.String(), expiry(f))
	}
}

func ipv6Options(o *options, c Config) {
	f := c.IPv6
	if f == nil {
		return
	}
	o.add("listen-address", f.Address.Addr().String())
	o.add("enable-ra")
	switch {
	case !f.DHCP:
		o.add("dhcp-range", "::", "constructor:"+c.Name, "ra-only")
		return
	case !f.Stateful:
		o.add("dhcp-range", "::", "constructor:"+c.Name, "ra-stateless", "ra-names")
		return
	}
	for _, r := range ranges(f) {
		o.add("dhcp-range", r.First.String(), r.Last.String(), strconv.Itoa(f.Address.Bits()), expiry(f))
	}
}

func ranges(f *Family) []Range {
	if len(f.Ranges) > 0 {
		return f.Ranges
	}
	return []Range{wholeRange(f.Address)}
}

func expiry(f *Family) string {
	if f.Expiry == "" {
		return "1h"
	}
	return f.Expiry
}
