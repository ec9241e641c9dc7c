package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/driver/device/disk"
	"github.com/berthd/berth/internal/driver/device/nic"
	"github.com/berthd/berth/internal/driver/device/none"
	"github.com/berthd/berth/internal/image"
	"github.com/berthd/berth/internal/instance"
	"github.com/berthd/berth/internal/instance/files"
	"github.com/berthd/berth/internal/metrics"
	"github.com/berthd/berth/internal/network"
	"github.com/berthd/berth/internal/profile"
	"github.com/berthd/berth/internal/storage"
)

// resources are the services that know each other. Where one must ask another that is made later, it gets a function
// that reads this struct when it is called.
type resources struct {
	profiles  *profile.Service
	images    *image.Service
	storage   *storage.Service
	networks  *network.Service
	instances *instance.Service
}

// wire makes the services of the resources and gives each what it needs of the others. It runs before the store's tables
// are filled: constructors must not read.
func (d *Daemon) wire() error {
	r := &d.resources
	r.profiles = profile.New(d.store, d.Hub, &d.locks, d.journal, d.projects)
	d.services.Profiles = r.profiles
	d.wireStorage()
	d.wireImages()
	d.wireNetworks()
	if err := d.wireInstances(); err != nil {
		return err
	}
	d.services.Metrics = metrics.New(metrics.Deps{
		Instances: r.instances, Operations: d.ops.Running, Warnings: d.warnings.Open, Started: time.Now(),
		Requests: func() []metrics.Requests { return d.server.Requests() },
	})
	d.services.Files = files.New(r.instances, d.Hub)
	d.parts = append(d.parts, part{name: "files", close: d.services.Files.Close})
	r.profiles.SetInstances(r.instances)
	r.profiles.SetImages(r.images)
	d.parts = append(d.parts, part{
		name: "profiles",
		recover: func(ctx context.Context) error {
			return errors.Join(d.projects.EnsureDefault(ctx), d.projects.Identify(ctx), r.profiles.EnsureDefault(ctx, api.ProjectDefault))
		},
	})
	return nil
}

func (d *Daemon) modules() map[string]device.Module {
	return map[string]device.Module{
		"disk": &disk.Module{Pools: d.resources.storage, Projects: d.projects},
		"nic":  nic.New(d.resources.networks),
		"none": none.Module{},
	}
}
