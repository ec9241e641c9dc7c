package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/berthd/berth/internal/device"
)

// rollBack brings an instance back to what it had before a step, from wherever the step has got to. It goes on after
// errors: the more of the old there is, the better. An entry that could not be closed may be older than what the instance
// has by now: that is left alone.
func (s *Service) rollBack(ctx context.Context, record *stepRecord, p progress) error {
	row, err := s.get(record.Project, record.Name)
	if err != nil {
		return err
	}
	i, has, runs := row.Value, s.liveNow(row.Value), s.running(row.Value)
	var errs []error
	for _, name := range slices.Backward(p.started) {
		if runs && has.uses(name, record.After) {
			continue
		}
		errs = append(errs, s.dropNew(ctx, i, record, name, runs && slices.Contains(p.plugged, name)))
	}
	for _, name := range slices.Backward(p.unplugged) {
		if !runs || !has.same(name, record.Before) {
			continue
		}
		d := record.Before.Devices[name]
		err := s.plugger(d).Replug(ctx, s.reach(i), has.of(s, i, name), name, d.Config, has.volatile(i, name), record.Seen[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("device %q: %w", name, err))
		}
	}
	for _, name := range p.started {
		if !has.same(name, record.After) {
			s.forgetDevice(ctx, record.After.of(s, i, name), name, record.After.Devices[name].Config, record.After.volatile(i, name))
		}
		errs = append(errs, s.addAgain(ctx, i, has, name))
	}
	for _, name := range slices.Backward(p.updated) {
		if !runs || !has.same(name, record.Before) {
			continue
		}
		if err := s.updateDevice(ctx, i, name, record.After, has); err != nil {
			errs = append(errs, fmt.Errorf("device %q: %w", name, err))
		}
	}
	if runs && p.limits {
		errs = append(errs, s.limitsBack(ctx, i.id(), record, has))
	}
	if runs && p.confined {
		errs = append(errs, s.confine(ctx, i, s.effectiveOf(i).Config))
	}
	if p.quota {
		e := s.effectiveOf(i)
		errs = append(errs, s.applyQuota(ctx, i, e.Devices[e.Root]["size"]))
	}
	return errors.Join(errs...)
}

// same tells whether a device is what it is in other.
func (l *live) same(name string, other *live) bool {
	return l.uses(name, other) && maps.Equal(l.Devices[name].Config, other.Devices[name].Config)
}

// uses tells whether a device is in the slot that it has in other.
func (l *live) uses(name string, other *live) bool {
	d, ok := l.Devices[name]
	return ok && d.Slot == other.Devices[name].Slot
}

// dropNew takes away a device that was to come.
func (s *Service) dropNew(ctx context.Context, i *Instance, record *stepRecord, name string, plugged bool) error {
	d := record.After.Devices[name]
	in, volatile := record.After.of(s, i, name), record.After.volatile(i, name)
	var err error
	if plugged {
		err = s.plugger(d).Unplug(ctx, s.reach(i), in, name, d.Config, volatile)
	}
	_, stopped := s.Modules[d.Config["type"]].Stop(ctx, in, name, d.Config, volatile)
	if err = errors.Join(err, stopped); err != nil {
		return fmt.Errorf("device %q: %w", name, err)
	}
	return nil
}

// addAgain makes a device known again where another one of its name was made known in its place.
func (s *Service) addAgain(ctx context.Context, i *Instance, has *live, name string) error {
	d, ok := has.Devices[name]
	if !ok {
		return nil
	}
	m, ok := s.Modules[d.Config["type"]].(device.Adder)
	if !ok || isRoot(d.Config) {
		return nil
	}
	return m.Add(ctx, has.of(s, i, name), name, d.Config, has.volatile(i, name))
}

// finishStep does what is left of a step whose record is written: the devices that were taken away go from the host.
func (s *Service) finishStep(ctx context.Context, i *Instance, record *stepRecord) error {
	has, runs := s.liveNow(i), s.running(i)
	var errs []error
	for _, name := range record.Gone {
		d := record.Before.Devices[name]
		in, volatile := record.Before.of(s, i, name), record.Before.volatile(i, name)
		if !runs || !has.uses(name, record.Before) {
			if _, err := s.Modules[d.Config["type"]].Stop(ctx, in, name, d.Config, volatile); err != nil {
				errs = append(errs, fmt.Errorf("device %q: %w", name, err))
			}
		}
		if !has.same(name, record.Before) {
			s.forgetDevice(ctx, in, name, d.Config, volatile)
		}
	}
	for _, name := range slices.Concat(record.Gone, record.Added, record.Updated) {
		if err := s.addAgain(ctx, i, has, name); err != nil {
			s.Log.Warn("A device could not be prepared", "instance", i.Name, "project", i.Project, "device", name, "err", err)
		}
	}
	return errors.Join(errs...)
}

// recoverUpdate finishes or undoes a step that was cut off.
func (s *Service) recoverUpdate(ctx context.Context, data json.RawMessage) error {
	var record stepRecord
	if err := json.Unmarshal(data, &record); err != nil {
		return fmt.Errorf("%s: %w", kindUpdate, err)
	}
	row, ok := s.instances.Get(record.Project, record.Name)
	if !ok || record.Before == nil || record.After == nil || row.Value.UUID != record.Before.UUID {
		return nil // it has gone, and with it all that it had
	}
	if err := s.known(ctx); err != nil {
		return err
	}
	if !record.Committed && record.Profile != nil && s.follows(record.Profile) {
		if err := s.commitPlan(ctx, row.Value, &record); err != nil {
			return err
		}
		record.Committed = true
	}
	if !record.Committed {
		return s.rollBack(ctx, &record, record.everything())
	}
	if row, ok = s.instances.Get(record.Project, record.Name); !ok {
		return nil
	}
	return s.finishStep(ctx, row.Value, &record)
}
