package bridge

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// restartMu keeps two restarts of one dnsmasq from meeting.
var restartMu sync.Mutex

// DropLeases makes dnsmasq forget what it gave to a hardware address. dnsmasq keeps its leases in memory and
// rewrites the file from there, so it is stopped for the few milliseconds that the edit takes, and only if there is a
// lease to drop.
func DropLeases(ctx context.Context, dir string, hwaddr net.HardwareAddr) error {
	leases, err := Leases(dir)
	if err != nil {
		return err
	}
	drop := map[netip.Addr]bool{}
	for _, l := range leases {
		if l.HWAddr == hwaddr.String() && l.HWAddr != "" {
			drop[l.Address] = true
		}
	}
	if len(drop) == 0 {
		return nil
	}
	restartMu.Lock()
	defer restartMu.Unlock()
	p, running := findDnsmasq(dir)
	if running {
		defer p.close()
		if err := StopDnsmasq(ctx, dir); err != nil {
			return err
		}
	}
	if err := editLeases(dir, drop); err != nil {
		return err
	}
	if !running {
		return nil
	}
	return startDnsmasq(context.WithoutCancel(ctx), dir, p.args)
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
