package instance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/store"
)

// step is the change of one instance from one effective configuration to another: what has to be done on the host and, if
// the instance runs, inside it. All of it is planned and checked before anything is changed.
type step struct {
	old, next     *Instance
	before, after *effective
	running       bool
	run           *run // nil if it does not run, or nobody watches it
	record        stepRecord
	entry         *journal.Entry // nil if the record is all that changes
	done          progress
	contributions map[string]device.Contribution // of the devices that come
	uncommitted   bool                           // its record could not be written: its entry has the next start do that
}

// stepRecord is the journal's record of a step: enough to finish or undo it from any point, and to repeat either.
type stepRecord struct {
	Project string `json:"project"`
	Name    string `json:"name"`
	// Before and After are what the instance has, or, if it does not run, would have.
	Before *live `json:"before"`
	After  *live `json:"after"`
	// Gone, Added and Updated name devices. One that is replaced is in both Gone and Added.
	Gone    []string `json:"gone,omitempty"`
	Added   []string `json:"added,omitempty"`
	Updated []string `json:"updated,omitempty"`
	Limits  bool     `json:"limits,omitempty"`
	// SeenLimits is what Runtime.LookLimits returned, for RestoreLimits.
	SeenLimits json.RawMessage `json:"seen_limits,omitempty"`
	Confine    bool            `json:"confine,omitempty"` // by another profile of the security module
	// Quota is the size of the root disk, if that changes.
	Quota *[2]string `json:"quota,omitempty"`
	// Seen is what HotPlugger.Look returned for each device in Gone, for Replug.
	Seen map[string]json.RawMessage `json:"seen,omitempty"`
	// Record are the keys of the record that change, with Profile. An empty value removes one.
	Record map[string]string `json:"record,omitempty"`
	// Committed is set by the commit that writes the record: from then on recovery finishes the step instead of undoing it. Entries of
	// earlier versions call it kept.
	Committed bool `json:"kept,omitempty"`
	// Profile, if set, decides in the place of Committed: too many instances follow it for one commit.
	Profile *profileMark `json:"profile,omitempty"`
}

// progress is how far a step has got: what is to be undone if it goes back.
type progress struct {
	limits, quota, confined              bool
	started, updated, unplugged, plugged []string
}

// everything is the progress to assume when it is not known how far a step has got.
func (record *stepRecord) everything() progress {
	return progress{limits: record.Limits, confined: record.Confine, quota: record.Quota != nil, started: record.Added, updated: record.Updated, unplugged: record.Gone, plugged: record.Added}
}

// plan works a step out: volatile keys are set in next, and everything that can be known beforehand is checked.
func (s *Service) plan(ctx context.Context, old, next *Instance, before, after *effective) (*step, error) {
	if err := s.checkAdded(ctx, next, before.Devices, after); err != nil {
		return nil, fmt.Errorf("Invalid devices: %w", err)
	}
	st := &step{old: old, next: next, before: before, after: after, running: s.running(old)}
	st.record = stepRecord{Project: old.Project, Name: old.Name, Before: liveOf(old, before)}
	if st.running {
		st.run = s.runs.get(old.id())
		st.record.Before = s.liveNow(old)
	}
	setIDMap(next.Config, after)
	if cloudInitChanged(before, after) {
		next.Config["volatile.cloud-init.instance-id"] = uuid.NewString()
	}
	if is, was := after.Devices[after.Root]["size"], before.Devices[before.Root]["size"]; is != was {
		st.record.Quota = &[2]string{was, is}
	}
	if err := s.planDevices(ctx, st); err != nil {
		return nil, err
	}
	if !st.running {
		return st, nil
	}
	return st, s.planLive(ctx, st)
}

// planDevices works out which devices are removed, added or changed in place, and the slot of each that is added.
func (s *Service) planDevices(ctx context.Context, st *step) error {
	record := &st.record
	had := record.Before.configs()
	d := diffDevices(had, st.after.Devices)
	if st.running {
		var err error
		d, record.Updated = s.splitUpdates(d, had, st.after.Devices)
		if d, err = s.uncover(ctx, st.old, d, had, st.after.Devices); err != nil {
			return err
		}
		if err := s.checkHotPlug(d, had, st.after.Devices); err != nil {
			return err
		}
	}
	record.Gone, record.Added = d.gone, d.added
	for _, name := range d.gone {
		// What comes in its place may be of another type, or on another network; it is made known anew.
		if now, replaced := st.after.Devices[name]; replaced {
			resetDeviceVolatile(st.next.Config, name, had[name], now)
		} else {
			dropDeviceVolatile(st.next.Config, name)
		}
		if st.running {
			dropHostVolatile(st.next.Config, name)
		}
	}
	if err := s.deviceDefaults(st.next, st.after); err != nil {
		return err
	}
	record.Record = changedKeys(st.old.Config, st.next.Config)
	record.After = liveOf(st.next, st.after)
	record.After.UUID = record.Before.UUID
	for name, now := range record.After.Devices {
		was, there := record.Before.Devices[name]
		switch {
		case there && !slices.Contains(record.Added, name):
			now.Slot, now.Volatile = was.Slot, was.Volatile
		case there:
			now.Slot = 1 - was.Slot
		}
		record.After.Devices[name] = now
	}
	return nil
}

// dropHostVolatile removes what the record says of the host's side of a device.
func dropHostVolatile(c map[string]string, name string) {
	for key := range c {
		rest, ok := strings.CutPrefix(key, "volatile."+name+".")
		if ok && (rest == "host_name" || strings.HasPrefix(rest, "last_state.")) {
			delete(c, key)
		}
	}
}

// planLive looks at what is inside, and checks the limits.
func (s *Service) planLive(ctx context.Context, st *step) error {
	record := &st.record
	record.Limits = !maps.Equal(record.Before.Limits, record.After.Limits)
	if record.Limits {
		var err error
		if record.SeenLimits, err = s.lookLimits(st.old.id(), record.Before.Limits, record.After.Limits); err != nil {
			return err
		}
	}
	record.Confine = s.confinementChanges(st.before, st.after)
	record.Seen = map[string]json.RawMessage{}
	for _, name := range record.Gone {
		d := record.Before.Devices[name]
		seen, err := s.plugger(d).Look(ctx, s.reach(st.old), record.Before.of(s, st.old, name), name, d.Config, record.Before.volatile(st.old, name))
		if err != nil {
			return fmt.Errorf("Failed to remove device %q: %w", name, err)
		}
		record.Seen[name] = seen
	}
	return nil
}

func (s *Service) plugger(d liveDevice) device.HotPlugger {
	return s.Modules[d.Config["type"]].(device.HotPlugger) // checkHotPlug looked
}

// effects tells whether a step is more than its record, and so needs an entry in the journal.
func (s *Service) effects(st *step) bool {
	record := &st.record
	if record.Quota != nil || record.Limits || record.Confine || len(record.Updated) > 0 {
		return true
	}
	if st.running {
		return len(record.Gone)+len(record.Added) > 0
	}
	for _, name := range record.Gone {
		if _, ok := s.Modules[record.Before.Devices[name].Config["type"]].(device.Remover); ok {
			return true
		}
	}
	return false
}

// ops are what has to be committed with the record of a step: what the instance has from then on, and that there is no way
// back.
func (s *Service) ops(st *step) []store.Op {
	var ops []store.Op
	if st.running {
		ops = append(ops, s.putLive(st.old, st.record.After))
	}
	if st.entry == nil {
		return ops
	}
	if len(st.record.Gone) == 0 { // nothing is left to do
		return append(ops, st.entry.Done())
	}
	committed := st.record
	committed.Committed = true
	return append(ops, st.entry.Amend(committed))
}
