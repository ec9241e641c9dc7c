package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Host is what dnsmasq knows of one NIC: its name, and addresses reserved for it.
type Host struct {
	HWAddr net.HardwareAddr
	IPv4   netip.Addr // zero: any
	IPv6   netip.Addr
	Name   string // host name; empty: none is given
}

// fileName holds what may be part of the name of a hosts file, which is made of project, instance and device.
var fileName = regexp.MustCompile(`^[A-Za-z0-9_:@%+=,-][A-Za-z0-9_.:@%+=,-]*$`)

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// encode writes the line of dnsmasq's dhcp-hostsfile. Typed values cannot hold a separator; the name is checked.
func (h Host) encode() (string, error) {
	parts := []string{h.HWAddr.String()}
	if len(h.HWAddr) != 6 {
		return "", fmt.Errorf("invalid hardware address %q", h.HWAddr)
	}
	if h.IPv4.IsValid() {
		parts = append(parts, h.IPv4.String())
	}
	if h.IPv6.IsValid() {
		parts = append(parts, "["+h.IPv6.WithZone("").String()+"]")
	}
	if h.Name != "" {
		if !hostName.MatchString(h.Name) {
			return "", fmt.Errorf("invalid host name %q", h.Name)
		}
		parts = append(parts, h.Name)
	}
	return strings.Join(parts, ",") + "\n", nil
}

// SetHost writes the host `name` of a folder and tells whether that was a change. dnsmasq knows when it is reloaded.
func SetHost(dir, name string, h Host) (changed bool, err error) {
	path, err := hostPath(dir, name)
	if err != nil {
		return false, err
	}
	line, err := h.encode()
	if err != nil {
		return false, err
	}
	if old, err := os.ReadFile(path); err == nil && string(old) == line {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	// dnsmasq reads every file of the folder, so the new one must not be there half-written.
	if err := replaceFile(filepath.Join(dir, ".host."+name), path, []byte(line)); err != nil {
		return false, err
	}
	return true, nil
}

// RemoveHost takes the host `name` away and tells whether there was one. dnsmasq forgets it when it is reloaded.
func RemoveHost(dir, name string) (was bool, err error) {
	path, err := hostPath(dir, name)
	if err != nil {
		return false, err
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Hosts lists what is reserved in a folder, by name.
func Hosts(dir string) (map[string]Host, error) {
	entries, err := os.ReadDir(filepath.Join(dir, hostsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	hosts := map[string]Host{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, hostsDir, e.Name()))
		if err != nil {
			continue // removed just now
		}
		if h, ok := parseHost(strings.TrimSpace(string(data))); ok {
			hosts[e.Name()] = h
		}
	}
	return hosts, nil
}

func parseHost(line string) (Host, bool) {
	parts := strings.Split(line, ",")
	mac, err := net.ParseMAC(parts[0])
	if err != nil {
		return Host{}, false
	}
	h := Host{HWAddr: mac}
	for _, part := range parts[1:] {
		addr, err := netip.ParseAddr(strings.Trim(part, "[]"))
		switch {
		case err != nil:
			h.Name = part
		case addr.Is4():
			h.IPv4 = addr
		default:
			h.IPv6 = addr
		}
	}
	return h, true
}

func hostPath(dir, name string) (string, error) {
	if !fileName.MatchString(name) {
		return "", fmt.Errorf("invalid name of a host file %q", name)
	}
	return filepath.Join(dir, hostsDir, name), nil
}
