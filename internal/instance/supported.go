package instance

import (
	"fmt"

	"github.com/berthd/berth/internal/cloudinit"
	"github.com/berthd/berth/internal/device"
)

// checkNew refuses what nothing could come of, of an instance and of its devices, unless it was there before: keys that have no effect on
// this server, or none beside others, and what cloud-init could not read. It stands at the doors where clients write, and not in check:
// what is there already starts, is renamed, restored and copied.
func (s *Service) checkNew(project string, was, now *Body) error {
	if err := cloudinit.Check(was.Config, now.Config); err != nil {
		return fmt.Errorf("Invalid config: %w", err)
	}
	if err := Keys.CheckSupported(was.Config, now.Config); err != nil {
		return fmt.Errorf("Invalid config: %w", err)
	}
	before, _ := expand(s.Profiles, project, was)
	after, _ := expand(s.Profiles, project, now)
	if err := unlessBefore(checkRawFilter, before, after); err != nil {
		return fmt.Errorf("Invalid expanded config: %w", err)
	}
	return s.devicesSupported(was.Devices, now.Devices)
}

// unlessBefore is what a check says of a configuration, unless it said so of the one before.
func unlessBefore(check func(map[string]string) error, was, now map[string]string) error {
	if err := check(now); err != nil && check(was) == nil {
		return err
	}
	return nil
}

// ProfileSupported refuses keys that have no effect on this server, or none beside others, of a profile and of its devices, unless they were
// there before.
func (s *Service) ProfileSupported(was, now map[string]string, wasDevices, devices map[string]device.Config) error {
	if err := Keys.CheckSupported(was, now); err != nil {
		return err
	}
	for _, check := range []func(map[string]string) error{checkKernelLimits, checkFilters, checkRawFilter} {
		if err := unlessBefore(check, was, now); err != nil {
			return err
		}
	}
	return s.devicesSupported(wasDevices, devices)
}

func (s *Service) devicesSupported(was, now map[string]device.Config) error {
	for _, name := range sortedNames(now) {
		m, ok := s.Modules[now[name]["type"]].(device.Refuser)
		if !ok {
			continue
		}
		before := was[name]
		if before["type"] != now[name]["type"] {
			before = nil
		}
		if err := m.CheckSupported(before, now[name]); err != nil {
			return fmt.Errorf("Invalid devices: Device validation failed for %q: %w", name, err)
		}
	}
	return nil
}
