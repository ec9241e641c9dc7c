package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Names inside a network's folder.
const (
	hostsDir   = "dnsmasq.hosts"
	leasesFile = "dnsmasq.leases"
	pidFile    = "dnsmasq.pid"
	rawFile    = "dnsmasq.raw"
)

// stopWait bounds how long dnsmasq may take to end on SIGTERM before it is killed.
const stopWait = 5 * time.Second

// wantsDnsmasq tells whether the network has addresses to serve.
func wantsDnsmasq(c Config) bool { return c.IPv4 != nil || c.IPv6 != nil }

// syncDnsmasq has dnsmasq run with exactly this configuration, and leaves one that does alone.
func syncDnsmasq(ctx context.Context, c Config) error {
	restartMu.Lock()
	defer restartMu.Unlock()
	if err := makeDir(c); err != nil {
		return err
	}
	hosts := filepath.Join(c.Dir, hostsDir)
	if err := os.MkdirAll(hosts, 0o755); err != nil {
		return err
	}
	if !wantsDnsmasq(c) {
		err := StopDnsmasq(ctx, c.Dir)
		return errors.Join(err, remove(c.Dir, leasesFile), os.WriteFile(filepath.Join(c.Dir, rawFile), raw(c), 0o644))
	}
	args, err := dnsmasqArgs(c)
	if err != nil {
		return err
	}
	old, _ := os.ReadFile(filepath.Join(c.Dir, rawFile))
	if p, ok := findDnsmasq(c.Dir); ok {
		same := slices.Equal(p.args, args) && bytes.Equal(old, raw(c))
		if same {
			// Reload in case files changed while nobody told it.
			err := p.signal(unix.SIGHUP)
			p.close()
			return err
		}
		p.close()
		if err := StopDnsmasq(ctx, c.Dir); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(c.Dir, rawFile), raw(c), 0o644); err != nil {
		return err
	}
	return startDnsmasq(ctx, c.Dir, args)
}

func raw(c Config) []byte { return []byte(c.RawDnsmasq + "\n") }

// startDnsmasq runs dnsmasq, which goes to the background by itself once its sockets are open and says on standard
// error why it could not.
func startDnsmasq(ctx context.Context, dir string, args []string) error {
	path, err := exec.LookPath("dnsmasq")
	if err != nil {
		return fmt.Errorf("dnsmasq is required for managed bridges: %w", err)
	}
	if err := remove(dir, pidFile); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	cmd.Args[0] = args[0]
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("The DNS and DHCP service exited prematurely: %w (%q)", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// dnsmasqArgs is the command line. It doubles as the identity of the running process.
func dnsmasqArgs(c Config) ([]string, error) {
	args := []string{"dnsmasq", "--strict-order", "--bind-interfaces", "--except-interface=lo",
		"--pid-file=" + filepath.Join(c.Dir, pidFile), "--no-ping", "--interface=" + c.Name, "--dhcp-rapid-commit",
		"--quiet-dhcp", "--quiet-dhcp6", "--quiet-ra"}
	if dhcp4(c) || dhcp6(c) {
		args = append(args, "--dhcp-no-override", "--dhcp-authoritative",
			"--dhcp-leasefile="+filepath.Join(c.Dir, leasesFile), "--dhcp-hostsfile="+filepath.Join(c.Dir, hostsDir))
	}
	args = append(args, ipv4Args(c)...)
	args = append(args, ipv6Args(c)...)
	if c.DNSMode != "none" {
		domain := c.Domain
		if domain == "" {
			domain = "lxd"
		}
		args = append(args, "--domain="+domain, "--interface-name=_gateway."+domain+","+c.Name, "--server=/"+domain+"/")
	}
	args = append(args, "--conf-file="+filepath.Join(c.Dir, rawFile))
	args = append(args, userArgs(c.Dir)...)
	for _, a := range args {
		if strings.ContainsAny(a, "\x00\n") {
			return nil, fmt.Errorf("invalid character in dnsmasq option %q", a)
		}
	}
	return args, nil
}

func dhcp4(c Config) bool { return c.IPv4 != nil && c.IPv4.DHCP }
func dhcp6(c Config) bool { return c.IPv6 != nil && c.IPv6.DHCP }

func ipv4Args(c Config) []string {
	f := c.IPv4
	if f == nil {
		return nil
	}
	args := []string{"--listen-address=" + f.Address.Addr().String()}
	if !f.DHCP {
		return args
	}
	if f.Gateway.IsValid() {
		args = append(args, "--dhcp-option-force=3,"+f.Gateway.String())
	}
	if c.MTU != 0 && c.MTU != defaultMTU {
		args = append(args, "--dhcp-option-force=26,"+strconv.Itoa(c.MTU))
	}
	if c.Search != "" {
		args = append(args, "--dhcp-option-force=119,"+c.Search)
	}
	ranges := f.Ranges
	if len(ranges) == 0 {
		ranges = []Range{wholeRange(f.Address)}
	}
	for _, r := range ranges {
		args = append(args, fmt.Sprintf("--dhcp-range=%s,%s,%s", r.First, r.Last, expiry(f)))
	}
	return args
}

func ipv6Args(c Config) []string {
	f := c.IPv6
	if f == nil {
		return nil
	}
	args := []string{"--listen-address=" + f.Address.Addr().String(), "--enable-ra"}
	switch {
	case !f.DHCP:
		return append(args, "--dhcp-range=::,constructor:"+c.Name+",ra-only")
	case !f.Stateful:
		return append(args, "--dhcp-range=::,constructor:"+c.Name+",ra-stateless,ra-names")
	}
	ranges := f.Ranges
	if len(ranges) == 0 {
		ranges = []Range{wholeRange(f.Address)}
	}
	for _, r := range ranges {
		args = append(args, fmt.Sprintf("--dhcp-range=%s,%s,%d,%s", r.First, r.Last, f.Address.Bits(), expiry(f)))
	}
	return args
}

func expiry(f *Family) string {
	if f.Expiry == "" {
		return "1h"
	}
	return f.Expiry
}

// wholeRange is every address of the subnet after the first host's, without IPv4's broadcast address.
func wholeRange(p netip.Prefix) Range {
	first := p.Masked().Addr().Next()
	if n := first.Next(); p.Contains(n) {
		first = n
	}
	last := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	if p.Addr().Is4() && p.Bits() < 31 {
		end = end.Prev()
	}
	return Range{First: first, Last: end}
}

var dnsmasqUser = sync.OnceValue(func() string {
	for _, name := range []string{"dnsmasq", "nobody"} {
		if _, err := user.Lookup(name); err == nil {
			return name
		}
	}
	return "root"
})

// userArgs takes dnsmasq's privileges, unless it could not read its own files then: that needs every folder above
// them to let others pass.
func userArgs(dir string) []string {
	name := dnsmasqUser()
	for d := dir; d != "/" && d != "."; d = filepath.Dir(d) {
		if info, err := os.Stat(d); err == nil && info.Mode().Perm()&0o001 == 0 {
			name = "root"
		}
	}
	args := []string{"--user=" + name}
	if name == "root" {
		args = append(args, "--group=root")
	}
	return args
}

func remove(dir, name string) error {
	err := os.Remove(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
