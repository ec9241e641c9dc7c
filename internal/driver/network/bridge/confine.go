package bridge

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/berthd/berth/internal/apparmor"
)

// confine loads the AppArmor profile of a network's dnsmasq and returns the label to start it with. The profile is named by the network's
// UUID, so that it survives a rename.
func confine(ctx context.Context, path string, c Config) (label string, err error) {
	if state, _ := c.AppArmor.State(); state != apparmor.On {
		return "", nil
	}
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(c.Dir)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return "", fmt.Errorf("folder of network %s: %w", c.Name, err)
	}
	return c.AppArmor.Load(ctx, profile(path, dir, c.ID))
}

// profile is what dnsmasq may do. It reads its whole folder, as some names there are random, and writes the two files that are its own.
func profile(path, dir, id string) apparmor.Profile {
	p := apparmor.Program{
		Kind: apparmor.Dnsmasq, ID: id, Executables: []string{path},
		Read:         []string{dir + "/"},
		Write:        []string{filepath.Join(dir, leasesFile), filepath.Join(dir, pidFile)},
		Capabilities: []string{"net_bind_service", "net_admin", "net_raw", "setuid", "setgid", "chown", "dac_override"},
		Network:      []string{"inet", "inet6", "netlink raw", "packet", "unix"},
	}.Profile()
	p.Rules = append(p.Rules,
		apparmor.Fixed(`"/proc/sys/net/**" r`), // the MTU that it announces
		apparmor.Fixed(`"/proc/*/net/**" r`),
		apparmor.Fixed(`"/run/{systemd/resolve,resolvconf,NetworkManager}/*.conf" r`), // where /etc/resolv.conf may lead
		apparmor.Fixed(`"/{dev/log,run/systemd/journal/dev-log}" w`),
	)
	return p
}
