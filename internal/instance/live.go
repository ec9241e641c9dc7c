package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/spec"
	"github.com/berthd/berth/internal/store"
)

var (
	plugBegun   = fault.New("instance.plug.begun")
	plugStarted = fault.New("instance.plug.started")
	plugKept    = fault.New("instance.plug.kept")
)

// running is how device modules reach a running instance.
type runningInstance struct {
	rt Runtime
	id string
}

var _ device.Running = runningInstance{}

func (r runningInstance) NetworkNamespace() (*os.File, error) { return r.rt.NetworkNamespace(r.id) }

func (r runningInstance) Mount(ctx context.Context, m spec.Mount) error {
	return r.rt.Mount(ctx, r.id, m)
}

func (r runningInstance) Unmount(ctx context.Context, target string) error {
	return r.rt.Unmount(ctx, r.id, target)
}

func (r runningInstance) AllowDevice(ctx context.Context, rule spec.DeviceRule) error {
	return r.rt.AllowDevice(ctx, r.id, rule)
}

// transitionLive is transition for a running instance.
//
// What goes is unplugged first, what comes is prepared on the host, then the record is written, and only then what
// comes appears inside: a daemon that is killed in between leaves at worst a device that is known but not yet
// inside, or, by the journal entry, something on the host that its successor removes.
func (s *Service) transitionLive(ctx context.Context, old, next *Instance, before, after *effective, d difference,
	keep func(context.Context, ...store.Op) error,
) (err error) {
	if after.Config["linux.kernel_modules"] != before.Config["linux.kernel_modules"] {
		if err := s.loadModules(ctx, after.Config); err != nil {
			return err
		}
	}
	if err := s.changeLimits(ctx, next, before, after); err != nil {
		return err
	}
	unconfine, err := s.changeConfinement(ctx, old, before, after)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unconfine())
		}
	}()
	d, updates := s.splitUpdates(d, before, after)
	if err := s.checkHotPlug(d, before, after); err != nil {
		return err
	}
	run := runningInstance{rt: s.Runtime, id: old.id()}
	in := s.deviceInstance(old, before)
	for _, name := range updates {
		m := s.Modules[after.Devices[name]["type"]].(device.Updater) //nolint:forcetypeassert // splitUpdates chose it for that
		if err := m.Update(ctx, run, s.deviceInstance(next, after), name, before.Devices[name], after.Devices[name], deviceVolatile(next.Config, name)); err != nil {
			return fmt.Errorf("Failed to update device %q: %w", name, err)
		}
	}
	if len(d.gone)+len(d.added) == 0 {
		return s.keepRun(ctx, old, after, keep)
	}
	var entry *journal.Entry
	var with []store.Op
	if len(d.added) > 0 {
		if entry, err = s.Journal.Begin(ctx, kindPlug, change{Project: old.Project, Name: old.Name, Pool: old.Pool, Devices: d.added}); err != nil {
			return err
		}
		with = append(with, entry.Done())
	}
	if err := plugBegun.Hit(); err != nil {
		return errors.Join(err, closeEntry(ctx, entry))
	}
	for _, name := range d.gone {
		if err := s.unplug(ctx, run, in, next, name, before.Devices[name]); err != nil {
			return errors.Join(fmt.Errorf("Failed to remove device %q: %w", name, err), closeEntry(ctx, entry))
		}
		// What comes in its place may be of another type, or on another network; it is made known anew.
		s.forgetDevice(ctx, in, name, before.Devices[name], deviceVolatile(old.Config, name))
		if _, replaced := after.Devices[name]; !replaced {
			dropDeviceVolatile(next.Config, name)
		} else {
			resetDeviceVolatile(next.Config, name, before.Devices[name], after.Devices[name])
		}
	}
	if err := s.deviceDefaults(next, after); err != nil {
		return errors.Join(err, closeEntry(ctx, entry))
	}
	inNext := s.deviceInstance(next, after)
	contributions := map[string]device.Contribution{}
	undo := func(cause error) error {
		ctx, cancel := detached(ctx)
		defer cancel()
		for name := range contributions {
			_, err := s.Modules[after.Devices[name]["type"]].Stop(ctx, inNext, name, after.Devices[name], deviceVolatile(next.Config, name))
			cause = errors.Join(cause, err)
		}
		return errors.Join(cause, closeEntry(ctx, entry))
	}
	for _, name := range d.added {
		cfg := after.Devices[name]
		contributions[name] = device.Contribution{} // so that a half-made one is undone too
		c, err := s.Modules[cfg["type"]].Start(ctx, inNext, name, cfg, deviceVolatile(next.Config, name))
		if err != nil {
			return undo(fmt.Errorf("Failed to start device %q: %w", name, err))
		}
		contributions[name] = c
		setDeviceVolatile(next.Config, name, c.Volatile)
	}
	if err := plugStarted.Hit(); err != nil {
		return undo(err)
	}
	if err := s.keepRun(ctx, old, after, keep, with...); err != nil {
		return undo(err)
	}
	entry = nil // the commit has ended it
	if err := plugKept.Hit(); err != nil {
		return err
	}
	for _, name := range d.added {
		cfg := after.Devices[name]
		if err := s.Modules[cfg["type"]].(device.HotPlugger).Plug(ctx, run, inNext, name, cfg, contributions[name]); err != nil {
			err = undo(fmt.Errorf("Failed to start device %q: %w", name, err))
			return errors.Join(err, s.goBack(ctx, old, next, before))
		}
	}
	return nil
}

func closeEntry(ctx context.Context, e *journal.Entry) error {
	if e == nil {
		return nil
	}
	return e.Close(ctx)
}

// goBack writes the record as it was before a change that failed in its last step.
func (s *Service) goBack(ctx context.Context, old, next *Instance, before *effective) error {
	return s.keepRun(ctx, old, before, func(ctx context.Context, with ...store.Op) error {
		return s.modify(ctx, old.Project, old.Name, func(i *Instance) error {
			i.Body = old.Body.clone()
			return nil
		}, with...)
	})
}

// keepRun writes the record and notes which devices the run has from now on.
func (s *Service) keepRun(ctx context.Context, i *Instance, after *effective, keep func(context.Context, ...store.Op) error, with ...store.Op) error {
	if err := keep(ctx, with...); err != nil {
		return err
	}
	if r := s.runs.get(i.id()); r != nil {
		r.devices = after.Devices
	}
	return nil
}

func (s *Service) unplug(ctx context.Context, run device.Running, in device.Instance, next *Instance, name string, cfg device.Config) error {
	m := s.Modules[cfg["type"]]
	volatile := deviceVolatile(next.Config, name)
	if err := m.(device.HotPlugger).Unplug(ctx, run, in, name, cfg, volatile); err != nil { //nolint:forcetypeassert // checkHotPlug looked
		return err
	}
	changes, err := m.Stop(ctx, in, name, cfg, volatile)
	setDeviceVolatile(next.Config, name, changes)
	return err
}

// checkHotPlug refuses, before anything is done, a change that some module cannot carry out live.
func (s *Service) checkHotPlug(d difference, before, after *effective) error {
	check := func(names []string, devices map[string]device.Config, verb string) error {
		for _, name := range names {
			if _, ok := s.Modules[devices[name]["type"]].(device.HotPlugger); !ok {
				return api.BadRequest("Failed to %s device %q: Devices of type %q cannot be changed while the instance is running",
					verb, name, devices[name]["type"])
			}
		}
		return nil
	}
	if err := check(d.gone, before.Devices, "remove"); err != nil {
		return err
	}
	return check(d.added, after.Devices, "add")
}

// splitUpdates takes out of a difference the devices whose module can change them in place.
func (s *Service) splitUpdates(d difference, before, after *effective) (difference, []string) {
	var updates []string
	for _, name := range d.changed {
		was, now := before.Devices[name], after.Devices[name]
		m, ok := s.Modules[now["type"]].(device.Updater)
		if !ok || was["type"] != now["type"] {
			continue
		}
		live := m.LiveKeys()
		if !slices.ContainsFunc(config.Changed(was, now), func(key string) bool {
			return !slices.Contains(live, key) && !strings.HasPrefix(key, "user.")
		}) {
			updates = append(updates, name)
		}
	}
	in := func(name string) bool { return slices.Contains(updates, name) }
	d.gone = slices.DeleteFunc(d.gone, in)
	d.added = slices.DeleteFunc(d.added, in)
	return d, updates
}

// changeLimits applies changed limits to the cgroup of a running instance.
func (s *Service) changeLimits(ctx context.Context, i *Instance, before, after *effective) error {
	changed := slices.ContainsFunc(config.Changed(before.Config, after.Config), func(key string) bool {
		k, _ := Keys.Lookup(key)
		return k.Live && strings.HasPrefix(key, "limits.")
	})
	if !changed {
		return nil
	}
	g, err := cgroup(after.Config, s.cpus(i, after.Config), s.Host.MemoryTotal)
	if err != nil {
		return err
	}
	return s.Runtime.Limits(ctx, i.id(), g)
}

// demands are the limits.cpu of all running instances, with i counted in with the configuration given.
func (s *Service) demands(i *Instance, c map[string]string) map[string]string {
	demands := map[string]string{}
	for _, row := range s.instances.List() {
		other := row.Value
		if other.Config["volatile.last_state.power"] != powerRunning || s.Runtime.Status(other.id()) == api.Stopped {
			continue
		}
		config, _ := expand(s.Profiles, other.Project, &other.Body)
		if v := config["limits.cpu"]; v != "" {
			demands[other.id()] = v
		}
	}
	if c != nil {
		delete(demands, i.id())
		if v := c["limits.cpu"]; v != "" {
			demands[i.id()] = v
		}
	}
	return demands
}

// cpus picks the CPUs of an instance.
func (s *Service) cpus(i *Instance, c map[string]string) string {
	if c["limits.cpu"] == "" {
		return ""
	}
	return balance(s.demands(i, c), s.Host.CPUs)[i.id()]
}

// rebalance spreads the instances that ask for a number of CPUs anew, after one has come or gone.
func (s *Service) rebalance(ctx context.Context, about *Instance) {
	c, _ := expand(s.Profiles, about.Project, &about.Body)
	if c["limits.cpu"] == "" {
		return
	}
	sets := balance(s.demands(about, nil), s.Host.CPUs)
	for _, i := range s.rows("") {
		set, counts := sets[i.id()]
		if !counts || i.id() == about.id() {
			continue
		}
		config, _ := expand(s.Profiles, i.Project, &i.Body)
		// All limits at once: what a Cgroup does not name is taken off.
		g, err := cgroup(config, set, s.Host.MemoryTotal)
		if err == nil {
			err = s.Runtime.Limits(ctx, i.id(), g)
		}
		if err != nil {
			s.Log.Warn("CPUs of an instance could not be changed", "instance", i.id(), "err", err)
		}
	}
}
