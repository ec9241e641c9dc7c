package instance

import (
	"context"
	"fmt"
	"maps"

	"github.com/berthd/berth/internal/device"
)

// checkAdded lets modules look at the host before devices that are new or changed become part of an instance.
func (s *Service) checkAdded(ctx context.Context, i *Instance, before map[string]device.Config, after *effective) error {
	in := s.deviceInstance(i, after)
	for _, name := range sortedNames(after.Devices) {
		cfg := after.Devices[name]
		m, ok := s.Modules[cfg["type"]].(device.Checker)
		if !ok || maps.Equal(before[name], cfg) {
			continue
		}
		if err := m.Check(ctx, in, name, cfg); err != nil {
			return fmt.Errorf("Device validation failed for %q: %w", name, err)
		}
	}
	return nil
}

// deviceAdded lets modules prepare what a device has from when it belongs to an instance. What fails is logged: the start
// does it again.
func (s *Service) deviceAdded(ctx context.Context, i *Instance, before map[string]device.Config, after *effective) {
	in := s.deviceInstance(i, after)
	for _, name := range sortedNames(after.Devices) {
		cfg := after.Devices[name]
		m, ok := s.Modules[cfg["type"]].(device.Adder)
		if !ok || isRoot(cfg) || maps.Equal(before[name], cfg) {
			continue
		}
		if err := m.Add(ctx, in, name, cfg, deviceVolatile(i.Config, name)); err != nil {
			s.Log.Warn("A device could not be prepared", "instance", i.Name, "project", i.Project, "device", name, "err", err)
		}
	}
}

// prepareDevices lets modules prepare the devices of all instances that do not run: a daemon that is killed between the commit of a
// change and that has not done so. What is prepared already is left as it is.
func (s *Service) prepareDevices(ctx context.Context) {
	for _, i := range s.rows("") {
		if !i.Creating && !s.running(i) {
			s.deviceAdded(ctx, i, nil, s.effectiveOf(i))
		}
	}
}
