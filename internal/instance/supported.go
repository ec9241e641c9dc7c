package instance

import (
	"fmt"
	"slices"

	"github.com/berthd/berth/internal/cloudinit"
	"github.com/berthd/berth/internal/device"
)

// newCheck refuses what is new in now, compared with was, and what nothing could come of. What is there already is left alone: it starts,
// is renamed, restored and copied.
type newCheck func(was, now map[string]string) error

var (
	// ownChecks are of a key by itself, where a client writes it: in an instance or in a profile.
	ownChecks = []newCheck{cloudinit.Check, Keys.CheckSupported}
	// togetherChecks are of keys beside others, which may come from different profiles.
	togetherChecks = []newCheck{checkNewFilters}
	// profileChecks are those that check has for instances, of a profile that none may use.
	profileChecks = []newCheck{unlessBefore(checkKernelLimits), unlessBefore(checkFilters)}
)

// unlessBefore makes a newCheck of a check of a whole configuration: it counts unless it said so of the one before.
func unlessBefore(check func(map[string]string) error) newCheck {
	return func(was, now map[string]string) error {
		if err := check(now); err != nil && check(was) == nil {
			return err
		}
		return nil
	}
}

// refused is the first error that checks give.
func refused(checks []newCheck, was, now map[string]string) error {
	for _, check := range checks {
		if err := check(was, now); err != nil {
			return err
		}
	}
	return nil
}

// checkNew refuses, of what a client newly sets, keys without an effect on this server, filters that exclude each other, and data that
// cloud-init cannot read. It stands at the doors where clients write, and not in check.
func (s *Service) checkNew(project string, was, now *Body) error {
	if err := refused(ownChecks, was.Config, now.Config); err != nil {
		return fmt.Errorf("Invalid config: %w", err)
	}
	before, _ := expand(s.Profiles, project, was)
	after, _ := expand(s.Profiles, project, now)
	if err := refused(togetherChecks, before, after); err != nil {
		return fmt.Errorf("Invalid expanded config: %w", err)
	}
	return s.devicesSupported(project, was.Devices, now.Devices)
}

// CheckProfileChange is checkNew for a profile: unknown limits of the kernel are refused too, as no instance may use it yet.
func (s *Service) CheckProfileChange(project string, was, now map[string]string, wasDevices, devices map[string]device.Config) error {
	if err := refused(slices.Concat(ownChecks, profileChecks, togetherChecks), was, now); err != nil {
		return err
	}
	return s.devicesSupported(project, wasDevices, devices)
}

func (s *Service) devicesSupported(project string, was, now map[string]device.Config) error {
	for _, name := range sortedNames(now) {
		m, ok := s.Modules[now[name]["type"]].(device.Refuser)
		if !ok {
			continue
		}
		before := was[name]
		if before["type"] != now[name]["type"] {
			before = nil
		}
		if err := m.CheckSupported(project, before, now[name]); err != nil {
			return fmt.Errorf("Invalid devices: Device validation failed for %q: %w", name, err)
		}
	}
	return nil
}
