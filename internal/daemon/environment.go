package daemon

import (
	"os"
	"strings"
	"sync"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/hostinfo"
	"github.com/berthd/berth/internal/version"
)

// environment is what GET /1.0 says about this machine. What cannot change is found out once.
type environment struct {
	once  sync.Once
	fixed api.ServerEnvironment

	// storageDrivers lists the drivers that work here; storageUsed names those of existing pools, in order. Both may be
	// nil.
	storageDrivers func() []api.ServerStorageDriverInfo
	storageUsed    func() []string
}

// describe implements server.Environment.
func (d *Daemon) describe(project string) api.ServerEnvironment {
	d.environment.once.Do(d.describeFixed)
	env := d.environment.fixed
	env.Addresses = d.https.addresses()
	env.Project = project
	if name, err := os.Hostname(); err == nil {
		env.ServerName = name
	}
	if d.environment.storageUsed == nil {
		return env
	}
	used := d.environment.storageUsed()
	shown := make([]string, len(used))
	for n, name := range used {
		for _, driver := range env.StorageSupportedDriver {
			if driver.Name == name {
				shown[n] = driver.Version
			}
		}
	}
	env.Storage = strings.Join(used, " | ")
	env.StorageVersion = strings.Join(shown, " | ")
	return env
}

func (d *Daemon) describeFixed() {
	env := &d.environment.fixed
	env.Architectures = hostinfo.Architectures()
	env.Certificate, env.CertificateFingerprint = d.cert.PEM, d.cert.Fingerprint
	env.Kernel, env.KernelVersion, env.KernelArchitecture = hostinfo.Kernel()
	env.KernelFeatures = hostinfo.KernelFeatures()
	env.OSName, env.OSVersion = hostinfo.OS()
	env.Driver = "lxc"
	env.DriverVersion, env.LXCFeatures = d.helper.LXC()
	env.Firewall = "nftables"
	// Clients that know LXD look at this name before they look at extensions.
	env.Server = "lxd"
	env.ServerVersion = version.Version
	env.ServerEventMode = "full-mesh"
	env.ServerPid = os.Getpid()
	env.StorageSupportedDriver = []api.ServerStorageDriverInfo{}
	if d.environment.storageDrivers != nil {
		env.StorageSupportedDriver = d.environment.storageDrivers()
	}
}
