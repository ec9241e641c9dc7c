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

// dropWait bounds one drop of leases, a stop and a start of dnsmasq included.
const dropWait = stopWait + startWait

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
// A request of a client that is gone may still wait in dnsmasq's socket and become a lease after the others were dropped.
// Only a stop, which closes the socket, prevents that. So dnsmasq is stopped if `asked` says that the client may have asked
// for a lease, and otherwise only if there is a lease to drop.
//
// dnsmasq is started again with what config returns at that time, whatever it ran with before.
func DropLeases(ctx context.Context, dir string, config func() (Config, error), hwaddr net.HardwareAddr, asked bool) error {
	d := join(dir, hwaddr.String(), asked)
	// Also for the look at the file: it is not whole while it is edited, or dnsmasq starts.
	unlock, err := processes.lock(ctx, dir)
	if err != nil {
		return err
	}
	defer unlock()
	d.once.Do(func() {
		leave(dir, d)
		shared, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropWait) // for others too
		defer cancel()
		d.err = dropAll(shared, dir, config, d)
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

func dropAll(ctx context.Context, dir string, config func() (Config, error), d *drops) error {
	if !d.restart {
		if drop, err := leasesOf(dir, d.macs); err != nil || len(drop) == 0 {
			return err
		}
	}
	c, args, err := configured(config)
	if err != nil {
		return err
	}
	running := Running(dir)
	if running {
		if err := stopDnsmasq(ctx, dir); err != nil {
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
	return errors.Join(err, startDnsmasq(ctx, c, args))
}

func configured(config func() (Config, error)) (Config, []string, error) {
	c, err := config()
	if err != nil {
		return c, nil, err
	}
	args, err := dnsmasqArgs(c)
	return c, args, err
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
	return rewriteLeases(dir, func(fields []string) bool {
		addr, err := netip.ParseAddr(fields[2])
		return err != nil || !drop[addr]
	})
}

// forgetNames removes the names from the leases while dnsmasq does not run. It would register them again, even those that
// clients gave themselves under another configuration; the names of known hosts it reads from the hosts' files.
func forgetNames(dir string) error {
	return ignoreMissing(rewriteLeases(dir, func(fields []string) bool {
		if len(fields) > 3 {
			fields[3] = "*"
		}
		return true
	}))
}

// rewriteLeases keeps those lines of the file of leases that are wanted; keep may change their fields. Other lines stay.
func rewriteLeases(dir string, keep func(fields []string) bool) error {
	path := filepath.Join(dir, leasesFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var kept strings.Builder
	for _, line := range strings.SplitAfter(string(data), "\n") {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 3:
			kept.WriteString(line)
		case keep(fields):
			kept.WriteString(strings.Join(fields, " ") + "\n")
		}
	}
	if kept.String() == string(data) {
		return nil
	}
	return replaceFile(filepath.Join(dir, "."+leasesFile), path, []byte(kept.String()))
}
