package daemon

import (
	"context"
	"path/filepath"

	"github.com/berthd/berth/internal/image"
	"github.com/berthd/berth/internal/image/remote"
)

func (d *Daemon) wireImages() {
	r := &d.resources
	r.images = image.New(image.Deps{
		Store: d.store, Journal: d.journal, Events: d.Hub, Dir: filepath.Join(d.Root, "images"),
		OnDelete: r.storage.DropImage,
		Remote:   &remote.Client{},
		Publish: func(ctx context.Context, project, name string) (*image.Content, error) {
			return r.instances.Content(ctx, project, name)
		},
		HasProfile: func(_ context.Context, project, name string) bool {
			_, _, ok := r.profiles.Definition(project, name)
			return ok
		},
	})
	d.services.Images = r.images
}
