package instance

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/spec"
)

// effective is what an instance really has: its own configuration over that of its profiles, checked.
type effective struct {
	Config  map[string]string
	Devices map[string]device.Config
	IDMap   []spec.IDMapEntry
	IDBase  int64
	Root    string // name of the root disk among the devices
	Pool    string // of the root disk
}

// check is the one choke point: it expands an instance and checks the outcome, whatever way the instance came to be
// what it is. old is the instance as it was, or nil for a new one.
func (s *Service) check(ctx context.Context, i, old *Instance) (*effective, error) {
	for n, p := range i.Profiles {
		if _, _, ok := s.Profiles.Definition(i.Project, p); !ok {
			return nil, api.BadRequest("Requested profile %q doesn't exist", p)
		}
		for _, q := range i.Profiles[:n] {
			if p == q {
				return nil, api.BadRequest("Duplicate profile found in request")
			}
		}
	}
	if err := Keys.Validate(i.Config); err != nil {
		return nil, wrapIf(old != nil, "Invalid config", err)
	}
	own := s.deviceInstance(i, &effective{Config: i.Config, Devices: i.Devices})
	own.Profile = true // without its profiles, an instance's devices may be incomplete
	if err := s.checkDevices(ctx, own, describe(i), i.Devices); err != nil {
		return nil, fmt.Errorf("%sInvalid devices: %w", initialising(old), err)
	}
	e := &effective{}
	e.Config, e.Devices = expand(s.Profiles, i.Project, &i.Body)
	if err := checkConfig(e); err != nil {
		return nil, wrapIf(old != nil, "Invalid expanded config", err)
	}
	if s.Host.UnprivilegedOnly && i != old { // a start checks an instance against itself
		if err := checkUnprivileged(e.Config); err != nil {
			return nil, wrapIf(old != nil, "Invalid expanded config", err)
		}
	}
	if err := s.checkRaw(ctx, e.Config); err != nil {
		return nil, err
	}
	var err error
	if e.Root, e.Pool, err = s.checkRoot(e.Devices, old); err != nil {
		return nil, err
	}
	if e.IDMap, e.IDBase, err = s.nextIDMap(i, e.Config); err != nil {
		return nil, err
	}
	if err := s.checkDevices(ctx, s.deviceInstance(i, e), describe(i), e.Devices); err != nil {
		return nil, fmt.Errorf("%sInvalid expanded devices: %w", initialising(old), err)
	}
	return e, nil
}

// checkUnprivileged refuses what makes an instance privileged, or could.
func checkUnprivileged(c map[string]string) error {
	switch {
	case config.IsTrue(c["security.privileged"]):
		return api.BadRequest("Only unprivileged containers are allowed on this server")
	case c["raw.idmap"] != "":
		return api.BadRequest("raw.idmap can't be set: only unprivileged containers are allowed on this server")
	}
	for line := range strings.Lines(c["raw.lxc"]) {
		key, _, _ := strings.Cut(line, "=")
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "lxc.idmap", "lxc.id_map", "lxc.include":
			return api.BadRequest("%s can't be set in raw.lxc: only unprivileged containers are allowed on this server", strings.TrimSpace(key))
		}
	}
	return nil
}

// checkRaw asks the runtime whether it understands the raw keys, once for each text that it does.
func (s *Service) checkRaw(ctx context.Context, c map[string]string) error {
	checks := map[string]func(context.Context, string) error{}
	if r, ok := s.Runtime.(RawChecker); ok {
		checks["raw.lxc"] = r.CheckRaw
	}
	if r, ok := s.Runtime.(Confiner); ok {
		checks["raw.apparmor"] = r.CheckAppArmor
	}
	for key, check := range checks {
		text := rawText{key, c[key]}
		if _, known := s.rawChecked.Load(text); known || text.value == "" {
			continue
		}
		if err := check(ctx, text.value); err != nil {
			return err
		}
		s.rawChecked.Store(text, struct{}{})
	}
	return nil
}

// rawText is a value that the runtime has understood.
type rawText struct{ key, value string }

func initialising(old *Instance) string {
	if old == nil {
		return "Failed initialising instance: "
	}
	return ""
}

func wrapIf(yes bool, with string, err error) error {
	if !yes {
		return err
	}
	return fmt.Errorf("%s: %w", with, err)
}

// checkConfig checks the effective configuration: each key, and what keys say about each other.
func checkConfig(e *effective) error {
	if err := Keys.Validate(e.Config); err != nil {
		return err
	}
	if err := checkKernelLimits(e.Config); err != nil {
		return err
	}
	if err := checkFilters(e.Config); err != nil {
		return err
	}
	_, err := idmap.ParseRaw(e.Config["raw.idmap"])
	return err
}

// checkRoot finds the root disk and its pool, which must exist and, once the instance does, stay.
func (s *Service) checkRoot(devices map[string]device.Config, old *Instance) (name, pool string, err error) {
	name, cfg, count := rootDevice(devices)
	switch {
	case count > 1 && old == nil:
		return "", "", api.BadRequest("Failed initialising instance: Failed detecting root disk device: More than one root device found")
	case count > 1:
		return "", "", api.BadRequest("Invalid expanded devices: Failed detecting root disk device: More than one root device found")
	case count == 0 && old == nil:
		return "", "", api.BadRequest("Failed initialising instance: Failed getting root disk: No root device could be found")
	case count == 0:
		return "", "", api.BadRequest("Invalid expanded devices: Failed detecting root disk device: No root device could be found")
	}
	pool = cfg["pool"]
	if old != nil {
		if pool != old.Pool {
			return "", "", api.BadRequest("Cannot update root disk device pool name to %q", pool)
		}
		return name, pool, nil
	}
	if pool == "" {
		return "", "", api.BadRequest(`Failed initialising instance: Invalid devices: Root disk entry must have a "pool" property set`)
	}
	if err := s.Volumes.CheckPool(pool); err != nil {
		return "", "", fmt.Errorf("Failed initialising instance: Failed loading storage pool: %w", err)
	}
	return name, pool, nil
}

// checkDevices asks each device's module. What the project forbids is refused first, as modules look at the host: whoever may not have a device
// does not learn from it whether there is such a file. of names what the devices are of.
func (s *Service) checkDevices(ctx context.Context, in device.Instance, of string, devices map[string]device.Config) error {
	known := maps.Clone(devices)
	maps.DeleteFunc(known, func(_ string, cfg device.Config) bool { return s.Modules[cfg["type"]] == nil })
	if err := s.Projects.Allows(in.Project, s.deviceNeeds(of, known)...); err != nil {
		return err
	}
	for _, name := range sortedNames(devices) {
		if err := s.checkDevice(ctx, in, name, devices[name]); err != nil {
			return fmt.Errorf("Device validation failed for %q: %w", name, err)
		}
	}
	return nil
}

func (s *Service) checkDevice(ctx context.Context, in device.Instance, name string, cfg device.Config) error {
	if err := checkDeviceName(name); err != nil {
		return err
	}
	m, ok := s.Modules[cfg["type"]]
	switch {
	case cfg["type"] == "":
		return api.BadRequest("Failed loading device %q: Missing device type in config", name)
	case !ok:
		return api.BadRequest("Failed loading device %q: Unsupported device type", name)
	}
	return m.Validate(ctx, in, name, cfg)
}

// checkDeviceName keeps names to what can stand in a key and, with its slashes escaped, in the name of a file.
func checkDeviceName(name string) error {
	switch {
	case name == "" || len(name) > 63:
		return api.BadRequest("Name must be 1-63 characters long")
	case name[0] == '.':
		return api.BadRequest(`Name must not start with "." character`)
	case !deviceName.MatchString(name):
		return api.BadRequest("Name can only contain alphanumeric, forward slash, hyphen, colon, underscore and full stop characters")
	}
	return nil
}

var deviceName = regexp.MustCompile(`^[A-Za-z0-9/:_.-]+$`)

// CheckProfile checks what a profile holds, by itself: it need not make a whole instance. Errors are 400.
func (s *Service) CheckProfile(ctx context.Context, project, name string, c map[string]string, devices map[string]device.Config) error {
	for key := range c {
		if len(key) > 9 && key[:9] == "volatile." {
			return api.BadRequest("Volatile keys can only be set on instances")
		}
		if len(key) > 6 && key[:6] == "image." {
			return api.BadRequest("Image keys can only be set on instances")
		}
	}
	if err := Keys.Validate(c); err != nil {
		return err
	}
	if s.Host.UnprivilegedOnly {
		if err := checkUnprivileged(c); err != nil {
			return err
		}
	}
	if err := s.checkRaw(ctx, c); err != nil {
		return err
	}
	in := device.Instance{Project: project, Type: string(api.InstanceTypeContainer), Config: c, Devices: devices, Profile: true}
	err := s.checkDevices(ctx, in, fmt.Sprintf("profile %q of project %q", name, project), devices)
	if err != nil && api.StatusOf(err) == http.StatusInternalServerError {
		return api.BadRequest("%w", err)
	}
	return err
}

// deviceInstance is what modules get to know of an instance.
func (s *Service) deviceInstance(i *Instance, e *effective) device.Instance {
	return device.Instance{
		Project:     i.Project,
		Name:        i.Name,
		ID:          i.id(),
		UUID:        i.UUID,
		Type:        string(i.Type),
		Privileged:  config.IsTrue(e.Config["security.privileged"]),
		IDMap:       e.IDMap,
		Config:      e.Config,
		Devices:     e.Devices,
		DevicesPath: filepath.Join(s.Root, "devices", i.id()),
	}
}

// sortedNames orders devices by name, and disks by where they are mounted: a mount must come before those beneath it.
func sortedNames(devices map[string]device.Config) []string {
	names := make([]string, 0, len(devices))
	for n := range devices {
		names = append(names, n)
	}
	sort.Slice(names, func(a, b int) bool {
		x, y := devices[names[a]], devices[names[b]]
		if dx, dy := x["type"] == "disk", y["type"] == "disk"; dx != dy {
			return dx
		} else if dx && x["path"] != y["path"] {
			return x["path"] < y["path"]
		}
		return names[a] < names[b]
	})
	return names
}
