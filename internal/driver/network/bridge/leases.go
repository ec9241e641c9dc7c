package bridge

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Lease is one entry of dnsmasq's list of leases.
type Lease struct {
	Expiry   string // seconds of Unix time, as written
	HWAddr   string // empty for an IPv6 lease whose DUID holds none
	Address  netip.Addr
	Hostname string // empty if the client has none
	ClientID string // client identifier, of IPv6 the DUID
}

// maxLeases bounds what is read of a file, in bytes.
const maxLeases = 16 << 20

// Leases reads the leases that dnsmasq has given in a folder; none if it never ran.
func Leases(dir string) ([]Lease, error) {
	f, err := os.Open(filepath.Join(dir, leasesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ParseLeases(io.LimitReader(f, maxLeases))
}

// ParseLeases reads dnsmasq's format: "expiry hwaddr-or-iaid address hostname client-id" a line, and a line "duid …"
// before the leases of IPv6. Lines it does not understand are left out: a client chooses parts of them.
func ParseLeases(r io.Reader) ([]Lease, error) {
	var leases []Lease
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		addr, err := netip.ParseAddr(fields[2])
		if err != nil || addr.Zone() != "" {
			continue
		}
		l := Lease{Expiry: fields[0], Address: addr, Hostname: fields[3], ClientID: fields[4]}
		if l.Hostname == "*" {
			l.Hostname = ""
		}
		if addr.Is4() {
			mac, err := net.ParseMAC(fields[1])
			if err != nil {
				continue
			}
			l.HWAddr = mac.String()
		} else {
			l.HWAddr = macOfDUID(l.ClientID)
		}
		leases = append(leases, l)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	return leases, nil
}

// macOfDUID takes the hardware address out of a DUID of type 1 or 3 for Ethernet (RFC 8415, 11.2 and 11.4).
func macOfDUID(duid string) string {
	switch b := strings.Split(strings.ToLower(duid), ":"); {
	case len(b) == 14 && strings.HasPrefix(strings.ToLower(duid), "00:01:00:01:"):
		return strings.Join(b[8:], ":")
	case len(b) == 10 && strings.HasPrefix(strings.ToLower(duid), "00:03:00:01:"):
		return strings.Join(b[4:], ":")
	}
	return ""
}
