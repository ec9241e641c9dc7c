package instance

import (
	"maps"

	"github.com/berthd/berth/internal/device"
)

// Profiles is what instances need of profiles; *profile.Service implements it.
type Profiles interface {
	// Definition returns what a profile gives its instances. The maps are shared: clone before change.
	Definition(project, name string) (config map[string]string, devices map[string]device.Config, ok bool)
	// Changes counts the changes of profiles: while it is the same, so is what Definition returns.
	Changes() uint64
}

// expand lays an instance's own configuration over that of its profiles, the later ones over the earlier. A profile
// that does not exist any more counts as empty: nothing that exists may become unreadable.
func expand(profiles Profiles, project string, b *Body) (map[string]string, map[string]device.Config) {
	config := map[string]string{}
	devices := map[string]device.Config{}
	for _, name := range b.Profiles {
		c, d, ok := profiles.Definition(project, name)
		if !ok {
			continue
		}
		maps.Copy(config, c)
		for n, cfg := range d {
			devices[n] = maps.Clone(cfg)
		}
	}
	maps.Copy(config, b.Config)
	for n, cfg := range b.Devices {
		devices[n] = maps.Clone(cfg)
	}
	return config, devices
}

// rootDevice finds the root disk among effective devices: the one disk with path=/ and no source.
func rootDevice(devices map[string]device.Config) (name string, cfg device.Config, count int) {
	for n, c := range devices {
		if isRoot(c) {
			name, cfg = n, c
			count++
		}
	}
	return name, cfg, count
}

func isRoot(c device.Config) bool {
	return c["type"] == "disk" && c["path"] == "/" && c["source"] == ""
}
