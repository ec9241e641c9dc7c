package instance

import (
	"context"
	"maps"
	"strings"

	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/store"
)

// live is what a running instance really has: its record and profiles only say what it should have. The store keeps it at
// /instance-runs/<project>/<name>, from the commit that says that the instance runs to the one that says that it does
// not, so that a daemon that takes over running instances knows what they have. It is immutable: each change makes
// a new one.
type live struct {
	UUID    string                `json:"uuid"`             // of the instance
	Limits  map[string]string     `json:"limits,omitempty"` // the keys that changeLimits is for
	Devices map[string]liveDevice `json:"devices"`          // all effective ones, the root disk among them
}

type liveDevice struct {
	Config   device.Config     `json:"config"`
	Slot     int               `json:"slot,omitempty"` // see device.Instance
	Volatile map[string]string `json:"volatile,omitempty"`
}

// liveOf is what an instance has when it is started, or has been, with an effective configuration.
func liveOf(i *Instance, e *effective) *live {
	l := &live{UUID: i.UUID, Limits: liveLimits(e.Config), Devices: map[string]liveDevice{}}
	for name, cfg := range e.Devices {
		l.Devices[name] = liveDevice{Config: cfg, Volatile: deviceVolatile(i.Config, name)}
	}
	return l
}

// liveLimits are the limits that can change while an instance runs.
func liveLimits(c map[string]string) map[string]string {
	limits := map[string]string{}
	for key, v := range c {
		if k, ok := Keys.Lookup(key); ok && k.Live && strings.HasPrefix(key, "limits.") {
			limits[key] = v
		}
	}
	return limits
}

// configs are the configurations of the devices.
func (l *live) configs() map[string]device.Config {
	all := make(map[string]device.Config, len(l.Devices))
	for name, d := range l.Devices {
		all[name] = d.Config
	}
	return all
}

// of is what modules get to know of an instance that has l, for one of its devices.
func (l *live) of(s *Service, i *Instance, name string) device.Instance {
	c, _ := expand(s.Profiles, i.Project, &i.Body)
	in := s.deviceInstance(i, &effective{Config: c, Devices: l.configs()})
	// The map that it runs with: a change of the keys waits for the next start.
	if m, err := idmap.Decode(i.Config["volatile.idmap.current"]); err == nil {
		in.IDMap, in.Privileged = m, len(m) == 0
	}
	in.Slot = l.Devices[name].Slot
	return in
}

// volatile are the volatile keys of one of its devices.
func (l *live) volatile(i *Instance, name string) map[string]string {
	v := deviceVolatile(i.Config, name)
	maps.Copy(v, l.Devices[name].Volatile)
	return v
}

// putLive and dropLive are the ops that keep and forget what an instance has.
func (s *Service) putLive(i *Instance, l *live) store.Op {
	return s.runs.table.Put(l, i.Project, i.Name)
}

func (s *Service) dropLive(project, name string) store.Op { return s.runs.table.Remove(project, name) }

// liveNow is what a running instance has: from its run, else from the store, else what its configuration says it should have.
func (s *Service) liveNow(i *Instance) *live {
	if r := s.runs.get(i.id()); r != nil && r.live() != nil {
		return r.live()
	}
	if row, ok := s.runs.table.Get(i.Project, i.Name); ok && row.Value.UUID == i.UUID {
		return row.Value
	}
	return liveOf(i, s.effectiveOf(i))
}

// adoptLive takes over, from a daemon that has gone, what a running instance has.
func (s *Service) adoptLive(ctx context.Context, i *Instance, r *run) {
	l := r.live()
	if _, kept := s.runs.table.Get(i.Project, i.Name); !kept { // started by a daemon that did not keep it yet
		if _, err := s.Store.Commit(ctx, s.putLive(i, l)); err != nil {
			s.Log.Error("what a running instance has could not be kept", "instance", i.Name, "project", i.Project, "err", err)
		}
	}
	s.adoptDevices(ctx, i, l)
}

// adoptHeld lets device modules keep what an instance holds (volumes, say) when it is not known whether the instance runs.
func (s *Service) adoptHeld(ctx context.Context, i *Instance) {
	if _, ok := s.runs.table.Get(i.Project, i.Name); ok {
		s.adoptDevices(ctx, i, s.liveNow(i))
	}
}

func (s *Service) adoptDevices(ctx context.Context, i *Instance, l *live) {
	for _, name := range sortedNames(l.configs()) {
		m, ok := s.Modules[l.Devices[name].Config["type"]].(device.Adopter)
		if !ok {
			continue
		}
		if err := m.Adopt(ctx, l.of(s, i, name), name, l.Devices[name].Config, l.volatile(i, name)); err != nil {
			s.Log.Error("device of a running instance", "instance", i.Name, "project", i.Project, "device", name, "err", err)
		}
	}
}
