package daemon

import (
	"context"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/driver/storage/dir"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/storage"
)

func (d *Daemon) wireStorage() {
	r := &d.resources
	r.storage = storage.New(storage.Deps{
		Store: d.store, Journal: d.journal, Locks: &d.locks, Events: lifecycle{d.Hub, d.warnings}, Root: d.Root,
		Drivers: map[string]storage.Open{
			"dir": func(c storagedriver.Config) storagedriver.Driver { return dir.New(c) },
		},
		Projects: d.projects,
		UsersOfPool: func(pool string) []string {
			return r.profiles.Users(everywhere, func(devices map[string]device.Config) bool {
				return anyDevice(devices, func(c device.Config) bool { return c["type"] == "disk" && c["pool"] == pool })
			})
		},
		UsersOfVolume: func(vol storage.VolumeID) []string {
			uses := func(devices map[string]device.Config) bool { return anyDevice(devices, ofVolume(vol)) }
			shares := d.sharesVolumes(vol.Project)
			users := r.instances.Users(shares, func(_ map[string]string, devices map[string]device.Config) bool { return uses(devices) })
			return append(users, r.profiles.Users(shares, uses)...)
		},
		VolumeRuns: func(vol storage.VolumeID) bool {
			return r.instances.Running(d.sharesVolumes(vol.Project), ofVolume(vol))
		},
	})
	d.services.Storage = r.storage
	d.environment.storageDrivers = func() []api.ServerStorageDriverInfo {
		return []api.ServerStorageDriverInfo{{Name: "dir", Version: "1"}}
	}
	d.environment.storageUsed = r.storage.DriversUsed
	d.parts = append(d.parts, part{
		name:    "storage",
		prepare: r.storage.Start,
		start:   func(context.Context) error { r.storage.PruneSnapshots(); return nil },
		close:   r.storage.Close,
	})
}

// sharesVolumes tells which projects have the custom volumes of one.
func (d *Daemon) sharesVolumes(home string) func(project string) bool {
	return func(one string) bool { return d.projects.Effective(project.Volumes, one) == home }
}

// ofVolume tells which devices are a custom volume.
func ofVolume(vol storage.VolumeID) func(device.Config) bool {
	return func(c device.Config) bool {
		return c["type"] == "disk" && c["pool"] == vol.Pool && c["source"] == vol.Name && c["path"] != "/"
	}
}

// everywhere is every project.
func everywhere(string) bool { return true }

func anyDevice(devices map[string]device.Config, fits func(device.Config) bool) bool {
	for _, c := range devices {
		if fits(c) {
			return true
		}
	}
	return false
}
