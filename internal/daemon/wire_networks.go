package daemon

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/network"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/warning"
)

// networkDown is the type of the warning about a network that did not come up.
const networkDown = "Unable to bring up network"

func (d *Daemon) wireNetworks() {
	r := &d.resources
	r.networks = network.New(network.Deps{
		Store: d.store, Journal: d.journal, Locks: &d.locks, Events: lifecycle{d.Hub, d.warnings}, Dir: filepath.Join(d.Root, "networks"), AppArmor: d.apparmor,
		Projects: d.projects,
		UsedBy: func(home, name string) []string {
			uses := func(devices map[string]device.Config) bool {
				return anyDevice(devices, func(c device.Config) bool {
					return c["type"] == "nic" && (c["network"] == name || c["parent"] == name)
				})
			}
			shares := func(one string) bool { return d.projects.Effective(project.Networks, one) == home }
			users := r.instances.Users(shares, func(_ map[string]string, devices map[string]device.Config) bool { return uses(devices) })
			return append(users, r.profiles.Users(shares, uses)...)
		},
		Started: func(ctx context.Context, home, name string, err error) {
			url := project.URL(home, "networks", name)
			var failed error
			if err != nil {
				failed = d.warnings.Upsert(ctx, networkDown, warning.High, err.Error(), home, url)
			} else {
				failed = d.warnings.Resolve(ctx, networkDown, home, url)
			}
			if failed != nil {
				slog.Error("A warning could not be written", "network", name, "err", failed)
			}
		},
	})
	d.services.Networks = r.networks
	d.parts = append(d.parts, part{
		name:    "networks",
		recover: func(ctx context.Context) error { r.networks.Start(ctx); return nil },
		halt:    r.networks.Shutdown,
		close:   r.networks.Close,
	})
}
