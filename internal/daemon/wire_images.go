package daemon

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/berthd/berth/internal/fetch"
	"github.com/berthd/berth/internal/hostinfo"
	"github.com/berthd/berth/internal/image"
	"github.com/berthd/berth/internal/image/remote"
	"github.com/berthd/berth/internal/sandbox"
)

func (d *Daemon) wireImages() {
	r := &d.resources
	images := filepath.Join(d.Root, "images")
	sandbox.UseAppArmor(d.apparmor, images) // all that tools are handed lies there
	r.images = image.New(image.Deps{
		Store: d.store, Journal: d.journal, Locks: &d.locks, Events: lifecycle{d.Hub, d.warnings}, Dir: images,
		Projects: d.projects,
		OnDelete: r.storage.DropImage,
		Remote:   &remote.Client{Proxy: d.proxy},
		Setting:  d.imageSetting,

		Architectures: hostinfo.Architectures(),
		Publish: func(ctx context.Context, project, name string) (*image.Content, error) {
			return r.instances.Content(ctx, project, name)
		},
		HasProfile: func(_ context.Context, project, name string) bool {
			_, _, ok := r.profiles.Definition(project, name)
			return ok
		},
	})
	d.services.Images = r.images
	// The daemon itself may reach everything; an image is updated by what whoever named its source could reach.
	ctx, cancel := context.WithCancel(fetch.WithPolicy(context.Background(), fetch.Policy{Private: true}))
	var upkeep sync.WaitGroup
	d.parts = append(d.parts, part{
		name:  "images",
		start: func(context.Context) error { upkeep.Go(func() { r.images.Upkeep(ctx) }); return nil },
		close: func() {
			cancel()
			upkeep.Wait()
			if err := sandbox.Unload(); err != nil {
				slog.Warn("AppArmor profiles of tools are left", "err", err)
			}
		},
	})
}

// imageSetting is a key of a project's configuration or, where that does not say, of the server's.
func (d *Daemon) imageSetting(project, key string) string {
	if c, err := d.projects.Config(project); err == nil && c[key] != "" {
		return c[key]
	}
	return d.config.Get(key)
}
