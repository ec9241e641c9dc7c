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
	"github.com/berthd/berth/internal/storage"
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
		Volumes: r.storage, Images: r.images, Profiles: r.profiles, Runtime: runtime, Modules: d.modules(),
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

// usersOfProject lists the URLs of what is in a project.
func (d *Daemon) usersOfProject(project string) []string {
	r := &d.resources
	ctx := context.Background()
	var urls []string
	for _, i := range r.instances.List(ctx, project, func(*api.Instance) bool { return true }) {
		urls = append(urls, "/1.0/instances/"+i.Name)
	}
	for _, i := range r.images.List(ctx, project, false) {
		urls = append(urls, "/1.0/images/"+i.Fingerprint)
	}
	for _, name := range r.profiles.Names(project) {
		urls = append(urls, "/1.0/profiles/"+name)
	}
	for _, name := range r.networks.Managed(project) {
		urls = append(urls, "/1.0/networks/"+name)
	}
	for _, pool := range r.storage.Pools() {
		volumes, err := r.storage.VolumeList(pool, project, storage.VolumeCustom)
		if err != nil {
			continue
		}
		for _, v := range volumes {
			urls = append(urls, "/1.0/storage-pools/"+pool+"/volumes/custom/"+v.Name)
		}
	}
	sort.Strings(urls)
	return urls
}
