package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/apparmor"
)

// Names inside a network's folder.
const (
	hostsDir   = "dnsmasq.hosts"
	leasesFile = "dnsmasq.leases"
	pidFile    = "dnsmasq.pid"
	rawFile    = "dnsmasq.raw"
	recordFile = "dnsmasq.process" // which process it is
	confFile   = "dnsmasq.conf"    // what it reads, in order
	goFile     = "dnsmasq.go"      // with a random suffix: lets one start of dnsmasq go on
)

// wantsDnsmasq tells whether the network has addresses to serve.
func wantsDnsmasq(c Config) bool { return c.IPv4 != nil || c.IPv6 != nil }

// syncDnsmasq makes dnsmasq run with exactly this configuration; one that does already is not restarted.
func syncDnsmasq(ctx context.Context, c Config) error {
	unlock, err := processes.lock(ctx, c.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := makeDir(c); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(c.Dir, hostsDir), 0o755); err != nil {
		return err
	}
	if !wantsDnsmasq(c) {
		err := stopDnsmasq(ctx, c.Dir)
		if err == nil {
			err = c.AppArmor.Unload(apparmor.Dnsmasq, c.ID)
		}
		return errors.Join(err, remove(c.Dir, leasesFile), os.WriteFile(filepath.Join(c.Dir, rawFile), raw(c), 0o644))
	}
	args, err := dnsmasqArgs(c)
	if err != nil {
		return err
	}
	if p, ok := findDnsmasq(c.Dir); ok {
		defer p.close()
		if p.record.Config == digest(c, args) {
			return p.reload() // in case files changed while nobody told it
		}
	}
	if err := stopDnsmasq(ctx, c.Dir); err != nil {
		return err
	}
	return startDnsmasq(ctx, c, args)
}

func raw(c Config) []byte { return []byte(c.RawDnsmasq + "\n") }

// digest identifies what a dnsmasq is started with.
func digest(c Config, args []string) string {
	h := sha256.New()
	for _, part := range append(slices.Clone(args), c.RawDnsmasq) {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// StopDnsmasq ends the dnsmasq of a folder, if one runs. Its leases stay.
func StopDnsmasq(ctx context.Context, dir string) error {
	unlock, err := processes.lock(ctx, dir)
	if err != nil {
		return err
	}
	defer unlock()
	return stopDnsmasq(ctx, dir)
}

// stopDnsmasq is called with the folder locked.
func stopDnsmasq(ctx context.Context, dir string) error {
	for _, find := range []func(string) (*process, bool){findDnsmasq, findOlder} {
		p, ok := find(dir)
		if !ok {
			continue
		}
		err := p.end(ctx)
		p.close()
		if err != nil {
			return err
		}
	}
	return errors.Join(remove(dir, recordFile), remove(dir, pidFile))
}

// ReloadDnsmasq has the dnsmasq of a folder read its hosts again; that none runs is no error.
func ReloadDnsmasq(ctx context.Context, dir string) error {
	unlock, err := processes.lock(ctx, dir)
	if err != nil {
		return err
	}
	defer unlock()
	p, ok := findDnsmasq(dir)
	if !ok {
		return nil
	}
	defer p.close()
	return p.reload()
}

// reload has the process read its hosts again. One that has not come to its first instruction would be ended by the signal; it reads
// everything after it has installed a handler.
func (p *process) reload() error {
	if !p.catches(unix.SIGHUP) {
		return nil
	}
	if err := p.signal(unix.SIGHUP); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("reload dnsmasq: %w", err)
	}
	return nil
}

// Running tells whether the dnsmasq of a folder runs.
func Running(dir string) bool {
	p, ok := findDnsmasq(dir)
	if ok {
		p.close()
	}
	return ok
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
func userArgs(dir string) [][2]string {
	name := dnsmasqUser()
	for d := dir; d != "/" && d != "."; d = filepath.Dir(d) {
		if info, err := os.Stat(d); err == nil && info.Mode().Perm()&0o001 == 0 {
			name = "root"
		}
	}
	if name == "root" {
		return [][2]string{{"user", name}, {"group", "root"}}
	}
	return [][2]string{{"user", name}}
}

func remove(dir, name string) error { return ignoreMissing(os.Remove(filepath.Join(dir, name))) }
