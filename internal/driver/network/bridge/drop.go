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
	macs    map[string]bool
	restart bool // even if none has a lease
	once    sync.Once
	err     error
}

var (
	waitingMu sync.Mutex
	waiting   = map[string]*drops{} // by folder
)

// DropLeases makes dnsmasq forget what it gave to a hardware address. dnsmasq keeps its leases in memory and
// rewrites the file from there, so it is stopped for the few milliseconds that the edit takes. Calls that come at once
// share one stop.
//
// A client that is gone may have left a request that dnsmasq has not read, or is at, and a lease would come of it after the
// others were dropped. Only a stop, which closes the socket, ends that. So there is one whatever the leases are if `asked`
// says that the client may have asked for one; else only if there is a lease to drop.
func DropLeases(ctx context.Context, dir string, hwaddr net.HardwareAddr, asked bool) error {
	d := join(dir, hwaddr.String(), asked)
	restartMu.Lock() // also for the look at the file: it is not whole while it is edited, or dnsmasq starts
	defer restartMu.Unlock()
	d.once.Do(func() {
		leave(dir, d)
		d.err = dropAll(context.WithoutCancel(ctx), dir, d) // for others too
	})
	return d.err
}

func join(dir, mac string, asked bool) *drops {
	waitingMu.Lock()
	defer waitingMu.Unlock()
	d := waiting[dir]
	if d == nil {
		d = &drops{macs: map[string]bool{}}
		waiting[dir] = d
	}
	d.macs[mac] = true
	d.restart = d.restart || asked
	return d
}

// leave closes d to others; after it nobody changes whose leases go.
func leave(dir string, d *drops) {
	waitingMu.Lock()
	defer waitingMu.Unlock()
	if waiting[dir] == d {
		delete(waiting, dir)
	}
}

func dropAll(ctx context.Context, dir string, d *drops) error {
	if !d.restart {
		if drop, err := leasesOf(dir, d.macs); err != nil || len(drop) == 0 {
			return err
		}
	}
	p, running := findDnsmasq(dir)
	if running {
		defer p.close()
		if err := StopDnsmasq(ctx, dir); err != nil {
			return err
		}
	}
	// Read now that it has ended: until then it may have given another.
	drop, err := leasesOf(dir, d.macs)
	if err == nil && len(drop) > 0 {
		err = editLeases(dir, drop)
	}
	if !running {
		return err
	}
	return errors.Join(err, startDnsmasq(ctx, dir, p.args))
}

// leasesOf returns the addresses that were given to some clients.
func leasesOf(dir string, macs map[string]bool) (map[netip.Addr]bool, error) {
	leases, err := Leases(dir)
	if err != nil {
		return nil, err
	}
	addrs := map[netip.Addr]bool{}
	for _, l := range leases {
		if l.HWAddr != "" && macs[l.HWAddr] {
			addrs[l.Address] = true
		}
	}
	return addrs, nil
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
