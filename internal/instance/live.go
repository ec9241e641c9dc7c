package instance

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/spec"
)

// runningInstance is how device modules reach a running instance.
type runningInstance struct {
	rt Runtime
	id string
}

var _ device.Running = runningInstance{}

func (r runningInstance) NetworkNamespace() (*os.File, error) { return r.rt.NetworkNamespace(r.id) }

func (r runningInstance) NetworkNamespaces(ctx context.Context, look func(ns *os.File) error) error {
	return r.rt.NetworkNamespaces(ctx, r.id, look)
}

func (r runningInstance) Mount(ctx context.Context, m spec.Mount) error {
	return r.rt.Mount(ctx, r.id, m)
}

func (r runningInstance) Unmount(ctx context.Context, m spec.Mount, others []string) error {
	return r.rt.Unmount(ctx, r.id, m, others)
}

func (r runningInstance) Mounted(ctx context.Context, m spec.Mount, others []string) (bool, error) {
	return r.rt.Mounted(ctx, r.id, m, others)
}

func (r runningInstance) AllowDevice(ctx context.Context, rule spec.DeviceRule) error {
	return r.rt.AllowDevice(ctx, r.id, rule)
}

func (s *Service) reach(i *Instance) runningInstance {
	return runningInstance{rt: s.Runtime, id: i.id()}
}

// checkHotPlug refuses, before anything is done, a change that some module cannot carry out live.
func (s *Service) checkHotPlug(d difference, before, after map[string]device.Config) error {
	check := func(names []string, devices map[string]device.Config, verb string) error {
		for _, name := range names {
			if _, ok := s.Modules[devices[name]["type"]].(device.HotPlugger); !ok {
				return api.BadRequest("Failed to %s device %q: Devices of type %q cannot be changed while the instance is running",
					verb, name, devices[name]["type"])
			}
		}
		return nil
	}
	if err := check(d.gone, before, "remove"); err != nil {
		return err
	}
	return check(d.added, after, "add")
}

// splitUpdates takes out of a difference the devices whose module can change them in place.
func (s *Service) splitUpdates(d difference, before, after map[string]device.Config) (difference, []string) {
	var updates []string
	for _, name := range d.changed {
		was, now := before[name], after[name]
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
