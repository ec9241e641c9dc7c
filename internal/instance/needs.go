package instance

import (
	"fmt"
	"strings"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/project"
)

// privilege is the project's key that says what containers have to be.
const privilege = "restricted.containers.privilege"

// needs is what of an instance is not free in a restricted project: of its own keys and devices and of those of its profiles.
func (s *Service) needs(i *Instance, e *effective) []project.Need {
	of := describe(i)
	needs := append(keyNeeds(of, e.Config), s.deviceNeeds(of, e.Devices)...)
	if !config.IsTrue(e.Config["security.privileged"]) && !config.IsTrue(e.Config["security.idmap.isolated"]) {
		needs = append(needs, project.Need{Key: privilege, Level: "unprivileged",
			Refusal: fmt.Sprintf("Invalid value %q for config %q on %s: Non-isolated containers are forbidden", e.Config["security.idmap.isolated"], "security.idmap.isolated", of)})
	}
	return needs
}

// describe names an instance in what refuses it.
func describe(i *Instance) string {
	return fmt.Sprintf("container %q of project %q", i.Name, i.Project)
}

// ProfileNeeds implements profile.Instances.
func (s *Service) ProfileNeeds(of, name string, c map[string]string, devices map[string]device.Config) []project.Need {
	text := fmt.Sprintf("profile %q of project %q", name, of)
	return append(keyNeeds(text, c), s.deviceNeeds(text, devices)...)
}

// keyNeeds goes by the table of keys: what its row does not call free needs something. Volatile keys are looked at where clients write them.
func keyNeeds(of string, c map[string]string) (needs []project.Need) {
	for _, key := range config.Changed(nil, c) {
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

func (s *Service) deviceNeeds(of string, devices map[string]device.Config) (needs []project.Need) {
	for _, name := range sortedNames(devices) {
		kind := devices[name]["type"]
		list := []device.Need{{Level: "allow", Why: fmt.Sprintf("Devices of type %q are forbidden", kind)}}
		if m, ok := s.Modules[kind].(device.Restricted); ok {
			list = m.Needs(devices[name])
		} else if isRoot(devices[name]) { // no instance is without
			continue
		}
		for _, n := range list {
			needs = append(needs, project.Need{Key: "restricted.devices." + kind, Level: n.Level, Network: n.Network,
				Refusal: fmt.Sprintf("Invalid device %q on %s: %s", name, of, n.Why)})
		}
	}
	return needs
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
