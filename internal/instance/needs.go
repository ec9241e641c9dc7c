package instance

import (
	"fmt"
	"strings"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/spec"
)

// privilege is the project's key that says what containers have to be.
const privilege = "restricted.containers.privilege"

// needs is what of an instance is not free in a restricted project: of its own keys and devices and of those of its profiles.
func (s *Service) needs(i *Instance, e *effective) []project.Need {
	of := fmt.Sprintf("container %q of project %q", i.Name, i.Project)
	needs := append(keyNeeds(of, e.Config), s.deviceNeeds(of, e.Devices)...)
	if !config.IsTrue(e.Config["security.privileged"]) && !config.IsTrue(e.Config["security.idmap.isolated"]) {
		needs = append(needs, project.Need{Key: privilege, Level: "unprivileged",
			Refusal: fmt.Sprintf("Invalid value %q for config %q on %s: Non-isolated containers are forbidden", e.Config["security.idmap.isolated"], "security.idmap.isolated", of)})
	}
	return needs
}

// ProfileNeeds implements profile.Instances.
func (s *Service) ProfileNeeds(of, name string, c map[string]string, devices map[string]device.Config) []project.Need {
	text := fmt.Sprintf("profile %q of project %q", name, of)
	return append(keyNeeds(text, c), s.deviceNeeds(text, devices)...)
}

// keyNeeds goes by the table of keys: what its row does not call free needs something. Volatile keys are looked at where clients write them.
func keyNeeds(of string, c map[string]string) (needs []project.Need) {
	for _, key := range config.Changed(nil, c) {
		if key == "raw.idmap" {
			if list, err := idmap.ParseRaw(c[key]); err == nil {
				needs = append(needs, idNeeds(of, list)...)
				continue
			}
		}
		k, ok := Keys.Lookup(key)
		need := project.Need{Key: string(k.Restricted), Level: "allow", Refusal: fmt.Sprintf("Use of low-level config %q on %s is forbidden", key, of)}
		switch {
		case strings.HasPrefix(key, "volatile."), ok && k.Restricted == config.Free, c[key] == k.Default:
			continue
		case key == "security.nesting" || key == "security.privileged":
			if !config.IsTrue(c[key]) {
				continue
			}
			what := map[string]string{"security.nesting": "Container nesting is forbidden", "security.privileged": "Privileged containers are forbidden"}[key]
			need.Refusal = fmt.Sprintf("Invalid value %q for config %q on %s: %s", c[key], key, of, what)
		}
		needs = append(needs, need)
	}
	return needs
}

// idNeeds is what raw.idmap needs, for each of its lines: a project may name the IDs of the host that are free in it.
func idNeeds(of string, list []spec.IDMapEntry) (needs []project.Need) {
	for n, e := range list {
		needs = append(needs, project.Need{Key: lowlevel, Level: "allow", IDs: &e, Refusal: fmt.Sprintf("Use of low-level \"raw.idmap\" element %d on %s is forbidden", n, of)})
	}
	return needs
}

// deviceNeeds goes by what the module of a device's type says, and for single keys by its tables: what none of them calls free needs that all
// devices of the type are allowed.
func (s *Service) deviceNeeds(of string, devices map[string]device.Config) (needs []project.Need) {
	for _, name := range sortedNames(devices) {
		cfg := devices[name]
		for _, n := range s.needsOf(cfg) {
			needs = append(needs, project.Need{Key: "restricted.devices." + cfg["type"], Level: n.Level, Network: n.Network, Path: n.Path, Anywhere: n.Anywhere,
				Refusal: fmt.Sprintf("Invalid device %q on %s: %s", name, of, n.Why)})
		}
	}
	return needs
}

func (s *Service) needsOf(cfg device.Config) (needs []device.Need) {
	m := s.Modules[cfg["type"]]
	restricted, ok := m.(device.Restricted)
	switch {
	case isRoot(cfg): // no instance is without
	case ok:
		needs = restricted.Needs(cfg)
	default:
		return []device.Need{{Level: "allow", Why: fmt.Sprintf("Devices of type %q are forbidden", cfg["type"])}}
	}
	d, ok := m.(device.Describer)
	if !ok {
		return needs
	}
	for _, key := range config.Changed(nil, cfg) {
		if cfg[key] != "" && !freeKey(d.Tables(), key) {
			needs = append(needs, device.Need{Level: "allow", Why: fmt.Sprintf("Key %q is forbidden", key)})
		}
	}
	return needs
}

// freeKey tells whether a key of a device is free: each table that has it says so, and one does.
func freeKey(tables map[string]*config.Table, key string) bool {
	known := false
	for _, t := range tables {
		k, ok := t.Lookup(key)
		if ok && k.Restricted != config.Free {
			return false
		}
		known = known || ok
	}
	return known
}

// permitted asks the restrictions of its project whether an instance may be as it is about to be, before anything of the host is looked at:
// what is there is not told to those to whom it is forbidden. admit asks again, when all is checked.
func (s *Service) permitted(action string, i *Instance) error {
	return s.Projects.Permits(action, i.Project, func() ([]project.Need, error) {
		if err := Keys.Validate(i.Config); err != nil { // of what is no key nobody could say what it needs
			return nil, err
		}
		return s.needs(i, s.effectiveOf(i)), nil
	})
}

// checkVolatile refuses, in a restricted project, what clients set of the keys that the server keeps for itself. was is what there was, or what
// is copied.
func (s *Service) checkVolatile(of, name string, was, now map[string]string) error {
	for _, key := range config.Changed(was, now) {
		if !strings.HasPrefix(key, "volatile.") || strings.HasSuffix(key, ".hwaddr") {
			continue
		}
		how := "Changing"
		if was[key] == "" {
			how = "Setting"
		}
		if err := s.Projects.Allows(of, project.Need{Refusal: fmt.Sprintf("%s %q on container %q in project %q is forbidden", how, key, name, of)}); err != nil {
			return err
		}
	}
	return nil
}

// allowSnapshot refuses snapshots in a project that does not allow them.
func (s *Service) allowSnapshot(of string) error {
	return s.Projects.Allows(of, project.SnapshotNeed(of))
}
