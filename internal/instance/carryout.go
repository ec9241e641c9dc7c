package instance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/fault"
)

var (
	updateBegun     = fault.New("instance.update.begun")
	updateStarted   = fault.New("instance.update.started")
	updateLimited   = fault.New("instance.update.limited")
	updateChanged   = fault.New("instance.update.changed")
	updateUnplugged = fault.New("instance.update.unplugged")
	updatePlugged   = fault.New("instance.update.plugged")
	updateCommitted = fault.New("instance.update.committed")
)

// carryOut brings steps about, all of them or none: what can be undone comes first, then commit writes the records, and
// what cannot be undone comes last.
//
// New devices are made before old ones go, so most of what fails does so while everything is still there. A daemon that
// is killed before the records are written is followed by one that goes back; after that, by one that goes on.
func (s *Service) carryOut(ctx context.Context, steps []*step, commit func(context.Context) error) error {
	done, err := s.takeTurns(steps)
	if err != nil {
		return err
	}
	defer done()
	for _, st := range steps {
		if st.running && st.before.Config["linux.kernel_modules"] != st.after.Config["linux.kernel_modules"] {
			// They stay, as they do after a stop: others may use them.
			if err := s.loadModules(ctx, st.after.Config); err != nil {
				return err
			}
		}
	}
	if err := s.begin(ctx, steps); err != nil {
		return err
	}
	err = s.applyAll(ctx, steps)
	finishing, cancel := detached(ctx) // whoever asked may go away: from here on it is to be one thing or the other
	defer cancel()
	if err == nil {
		err = commit(finishing)
	}
	if err != nil {
		return s.rollBackAll(finishing, steps, err)
	}
	for _, st := range steps {
		if st.run != nil {
			st.run.has.Store(st.record.After)
		}
	}
	for _, st := range steps {
		s.completeStep(finishing, st)
	}
	s.rebalanceSteps(finishing, steps)
	return nil
}

func (s *Service) applyAll(ctx context.Context, steps []*step) error {
	for _, st := range steps {
		if st.entry == nil {
			continue
		}
		if err := s.apply(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

// rollBackAll undoes steps, the last first.
func (s *Service) rollBackAll(ctx context.Context, steps []*step, cause error) error {
	for _, st := range slices.Backward(steps) {
		if st.entry == nil {
			continue
		}
		if err := s.rollBack(ctx, &st.record, st.done); err != nil {
			s.Log.Error("A change could not be undone wholly", "instance", st.old.Name, "project", st.old.Project, "err", err)
			cause = errors.Join(cause, fmt.Errorf("Failed to go back to what instance %q had before: %w", st.old.Name, err))
			continue // its entry stays: the next start tries again
		}
		cause = errors.Join(cause, st.entry.Close(ctx))
	}
	s.rebalanceSteps(ctx, steps)
	return cause
}

// rebalanceSteps spreads CPUs anew where a step changed who asks for them.
func (s *Service) rebalanceSteps(ctx context.Context, steps []*step) {
	if slices.ContainsFunc(steps, func(st *step) bool {
		return st.running && st.record.Before.Limits["limits.cpu"] != st.record.After.Limits["limits.cpu"]
	}) {
		s.rebalance(ctx)
	}
}

// begin tells the journal of all steps that do more than write a record.
func (s *Service) begin(ctx context.Context, steps []*step) error {
	for _, st := range steps {
		if !s.effects(st) {
			continue
		}
		var err error
		if st.entry, err = s.Journal.Begin(ctx, kindUpdate, st.record); err != nil {
			return s.rollBackAll(context.WithoutCancel(ctx), steps, err)
		}
	}
	return nil
}

// apply does what can be undone of a step, in the order in which failing costs least.
func (s *Service) apply(ctx context.Context, st *step) error {
	for _, part := range []struct {
		do    func(context.Context, *step) error
		after *fault.Point
	}{
		{func(context.Context, *step) error { return nil }, updateBegun},
		{s.applyStart, updateStarted},
		{s.applyLimits, updateLimited},
		{s.applyUpdates, updateChanged},
		{s.applyUnplug, updateUnplugged},
		{s.applyPlug, updatePlugged},
	} {
		if err := part.do(ctx, st); err != nil {
			return err
		}
		if err := part.after.Hit(); err != nil {
			return err
		}
	}
	return nil
}

// applyStart makes the host's side of the devices that come.
func (s *Service) applyStart(ctx context.Context, st *step) error {
	if !st.running {
		return nil
	}
	record := &st.record
	for _, name := range record.Added {
		st.done.started = append(st.done.started, name)
		d := record.After.Devices[name]
		c, err := s.Modules[d.Config["type"]].Start(ctx, record.After.of(s, st.next, name), name, d.Config, record.After.volatile(st.next, name))
		if err != nil {
			return fmt.Errorf("Failed to start device %q: %w", name, err)
		}
		setDeviceVolatile(st.next.Config, name, c.Volatile)
		d.Volatile = deviceVolatile(st.next.Config, name)
		record.After.Devices[name] = d
		st.contribute(name, c)
	}
	return nil
}

func (st *step) contribute(name string, c device.Contribution) {
	if st.contributions == nil {
		st.contributions = map[string]device.Contribution{}
	}
	st.contributions[name] = c
}

// applyLimits puts the new limits into force, the size of the root disk and the profile of the security module among them.
func (s *Service) applyLimits(ctx context.Context, st *step) error {
	if q := st.record.Quota; q != nil {
		st.done.quota = true
		if err := s.applyQuota(ctx, st.next, q[1]); err != nil {
			return err
		}
	}
	if !st.running {
		return nil
	}
	if st.record.Limits {
		st.done.limits = true
		if err := s.force(ctx, st.old.id(), st.record.Before.Limits, st.record.After.Limits); err != nil {
			return err
		}
	}
	if !st.record.Confine {
		return nil
	}
	st.done.confined = true
	return s.confine(ctx, st.old, st.after.Config)
}

// applyUpdates changes in place the devices that can be.
func (s *Service) applyUpdates(ctx context.Context, st *step) error {
	record := &st.record
	for _, name := range record.Updated {
		st.done.updated = append(st.done.updated, name)
		if err := s.updateDevice(ctx, st.next, name, record.Before, record.After); err != nil {
			return fmt.Errorf("Failed to update device %q: %w", name, err)
		}
	}
	return nil
}

// updateDevice changes a running device in place.
func (s *Service) updateDevice(ctx context.Context, i *Instance, name string, from, to *live) error {
	was, now := from.Devices[name].Config, to.Devices[name].Config
	m := s.Modules[now["type"]].(device.Updater) // splitUpdates chose it for that
	return m.Update(ctx, s.reach(i), to.of(s, i, name), name, was, now, to.volatile(i, name))
}

// applyUnplug takes away from inside the devices that go.
func (s *Service) applyUnplug(ctx context.Context, st *step) error {
	if !st.running {
		return nil
	}
	record := &st.record
	for _, name := range record.Gone {
		st.done.unplugged = append(st.done.unplugged, name)
		d := record.Before.Devices[name]
		if err := s.plugger(d).Unplug(ctx, s.reach(st.old), record.Before.of(s, st.old, name), name, d.Config, record.Before.volatile(st.old, name)); err != nil {
			return fmt.Errorf("Failed to remove device %q: %w", name, err)
		}
	}
	return nil
}

// applyPlug makes the devices that come appear inside.
func (s *Service) applyPlug(ctx context.Context, st *step) error {
	if !st.running {
		return nil
	}
	record := &st.record
	for _, name := range record.Added {
		d := record.After.Devices[name]
		err := s.plugger(d).Plug(ctx, s.reach(st.old), record.After.of(s, st.next, name), name, d.Config, st.contributions[name])
		if not := (*device.NotPlugged)(nil); !errors.As(err, &not) {
			st.done.plugged = append(st.done.plugged, name)
		}
		if err != nil {
			return fmt.Errorf("Failed to start device %q: %w", name, err)
		}
	}
	return nil
}

// completeStep does what is left of a step whose record is written. The instance has all of the new already: what fails is
// logged, and done again at the next start.
func (s *Service) completeStep(ctx context.Context, st *step) {
	if st.entry == nil || len(st.record.Gone) == 0 {
		s.deviceAdded(ctx, st.next, st.before.Devices, st.after)
		return
	}
	hit := updateCommitted.Hit()
	err := s.finishStep(ctx, st.next, &st.record)
	if err == nil && !st.uncommitted {
		err = st.entry.Close(ctx)
	}
	if err = errors.Join(hit, err); err != nil {
		s.Log.Error("What is left of a change waits for the next start", "instance", st.old.Name, "project", st.old.Project, "err", err)
	}
}
