package bridge

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// restartMu is held while a dnsmasq is stopped and started, or told something: a SIGHUP ends one that has only begun to
// start.
var restartMu sync.Mutex

// drops is whose leases are to be dropped together: those asked for while dnsmasq is being restarted for others.
type drops struct {
	macs map[string]bool
	once sync.Once
	err  error
}

var (
	waitingMu sync.Mutex
	waiting   = map[string]*drops{} // by folder
)

// DropLeases makes dnsmasq forget what it gave to a hardware address. dnsmasq keeps its leases in memory and
// rewrites the file from there, so it is stopped for the few milliseconds that the edit takes, and only if there is a
// lease to drop. Calls that come at once share one stop.
func DropLeases(ctx context.Context, dir string, hwaddr net.HardwareAddr) error {
	d := join(dir, hwaddr.String())
	restartMu.Lock() // also for the look at the file: it is not whole while it is edited, or dnsmasq starts
	defer restartMu.Unlock()
	d.once.Do(func() {
		leave(dir, d)
		d.err = dropAll(context.WithoutCancel(ctx), dir, d.macs) // for others too
	})
	return d.err
}

func join(dir, mac string) *drops {
	waitingMu.Lock()
	defer waitingMu.Unlock()
	d := waiting[dir]
	if d == nil {
		d = &drops{macs: map[string]bool{}}
		waiting[dir] = d
	}
	d.macs[mac] = true
	return d
}

// leave closes d to others; after it nobody changes d.macs.
func leave(dir string, d *drops) {
	waitingMu.Lock()
	defer waitingMu.Unlock()
	if waiting[dir] == d {
		delete(waiting, dir)
	}
}

func dropAll(ctx context.Context, dir string, macs map[string]bool) error {
	leases, err := Leases(dir)
	if err != nil {
		return err
	}
	drop := map[netip.Addr]bool{}
	for _, l := range leases {
		if l.HWAddr != "" && macs[l.HWAddr] {
			drop[l.Address] = true
		}
	}
	if len(drop) == 0 {
		return nil
	}
	p, running := findDnsmasq(dir)
	if running {
		defer p.close()
		if err := StopDnsmasq(ctx, dir); err != nil {
			return err
		}
	}
	err = editLeases(dir, drop)
	if !running {
		return err
	}
	return errors.Join(err, startDnsmasq(ctx, dir, p.args))
}

func editLeases(dir string, drop map[netip.Addr]bool) error {
	path := filepath.Join(dir, leasesFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var kept strings.Builder
	for _, line := range strings.SplitAfter(string(data), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 2 {
			if addr, err := netip.ParseAddr(fields[2]); err == nil && drop[addr] {
				continue
			}
		}
		kept.WriteString(line)
	}
	return os.WriteFile(path, []byte(kept.String()), 0o644)
}
