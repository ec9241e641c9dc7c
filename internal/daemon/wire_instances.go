package daemon

import (
	"context"
	"os"
	"sort"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/lxc"
	"github.com/berthd/berth/internal/exec"
	"github.com/berthd/berth/internal/hostinfo"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/instance"
	"github.com/berthd/berth/internal/netstate"
	"github.com/berthd/berth/internal/project"
)

func (d *Daemon) wireInstances() error {
	r := &d.resources
	runtime, err := lxc.New(lxc.Options{
		Root: d.Root, Helper: d.helper.Path(), Network: instanceNetwork, CoreScheduling: d.coreScheduling, AppArmor: d.apparmor,
	})
	if err != nil {
		return err
	}
	ids, err := idmap.FromHost()
	if err != nil {
		return err
	}
	r.instances = instance.New(instance.Deps{
		Root: d.Root, Store: d.store, Journal: d.journal, Locks: &d.locks, Events: lifecycle{d.Hub, d.warnings},
		Volumes: r.storage, Images: r.images, Profiles: r.profiles, Projects: d.projects, Runtime: runtime, Modules: d.modules(),
		Host: instance.Host{
			IDs: ids, CPUs: hostinfo.OnlineCPUs(), MemoryTotal: hostinfo.MemoryTotal(), Arch: hostinfo.Architectures()[0],
			Unshifted:        d.unshifted(),
			UnprivilegedOnly: d.UnprivilegedOnly,
		},
	})
	runtime.OnRestart(r.instances.Reboot)
	d.services.Instances = r.instances
	d.services.Exec = &exec.Service{Instances: r.instances, Runtime: runtime, Events: d.Hub}
	d.parts = append(d.parts, part{
		name:    "instances",
		recover: func(ctx context.Context) error { defer d.markAdopted(); return r.instances.Adopt(ctx) },
		start: func(ctx context.Context) error {
			r.instances.PruneSnapshots()
			// The daemon is ready when what is to run does.
			select {
			case <-r.instances.Autostart():
			case <-ctx.Done():
			}
			return nil
		},
		halt:  func(ctx context.Context) error { r.instances.StopAll(ctx); return nil },
		close: r.instances.Close,
	})
	return nil
}

func (d *Daemon) coreScheduling() bool {
	_, features := d.helper.LXC()
	return features["core_scheduling"] == "true"
}

// instanceNetwork reads the interfaces of an instance; what it cannot see of the host's ends is in hostNames.
func instanceNetwork(_ context.Context, ns *os.File, hostNames map[string]string) (map[string]api.InstanceStateNetwork, error) {
	state, err := netstate.State(ns)
	if err != nil {
		return nil, err
	}
	for name, host := range hostNames {
		if one, ok := state[name]; ok && one.HostName == "" {
			one.HostName = host
			state[name] = one
		}
	}
	return state, nil
}

// usersOfProject lists the URLs of what is in a project and its own.
func (d *Daemon) usersOfProject(name string) []string {
	r := &d.resources
	var urls []string
	add := func(path ...string) { urls = append(urls, project.URL(name, path...)) }
	r.instances.Names(context.Background(), name, func(api.InstanceType) bool { return true }, func(_, instance string) { add("instances", instance) })
	if d.own(name, project.Images) {
		for _, fingerprint := range r.images.Fingerprints(name) {
			add("images", fingerprint)
		}
	}
	if d.own(name, project.Profiles) {
		for _, profile := range r.profiles.Names(name) {
			add("profiles", profile)
		}
	}
	if d.own(name, project.Networks) {
		for _, network := range r.networks.Managed(name) {
			add("networks", network)
		}
	}
	if d.own(name, project.Volumes) {
		for _, volume := range r.storage.CustomVolumes(name) {
			add("storage-pools", volume.Pool, "volumes", string(volume.Type), volume.Name)
		}
	}
	sort.Strings(urls)
	return urls
}

// contentsOfProject is what is in a project and its own, for its limits.
func (d *Daemon) contentsOfProject(name string) project.Contents {
	r := &d.resources
	c := project.Contents{Instances: r.instances.Contents(name)}
	if d.own(name, project.Profiles) {
		c.Profiles = r.profiles.Contents(name)
	}
	if d.own(name, project.Volumes) {
		c.Volumes = r.storage.Contents(name)
	}
	if d.own(name, project.Images) {
		c.Images = r.images.Size(name)
	}
	if d.own(name, project.Networks) {
		c.Networks = len(r.networks.Managed(name))
	}
	return c
}

// networkConfig is the configuration of a managed network that projects share.
func (d *Daemon) networkConfig(name string) (map[string]string, error) {
	n, _, err := d.resources.networks.Get(context.Background(), api.ProjectDefault, name)
	switch {
	case err != nil:
		return nil, err
	case !n.Managed:
		return nil, api.NotFound("Network not found")
	}
	return n.Config, nil
}

// own tells whether a project has objects of a kind for itself, rather than those of the default one.
func (d *Daemon) own(name string, kind project.Kind) bool {
	return d.projects.Effective(kind, name) == name
}
