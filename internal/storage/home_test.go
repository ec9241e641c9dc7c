package storage

import (
	"context"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/project"
)

// sharedMeanwhile are projects of which "x" has volumes of its own until somebody holds it: the change of its features was there first.
type sharedMeanwhile struct {
	project.Single
	shared bool
}

func (p *sharedMeanwhile) Effective(_ project.Kind, name string) string {
	if p.shared {
		return api.ProjectDefault
	}
	return name
}

func (p *sharedMeanwhile) Hold(ctx context.Context, _, name string) (context.Context, func(), error) {
	p.shared = p.shared || name == "x"
	return ctx, func() {}, nil
}

// A volume of a project that gets other features while it is waited for is made where the project has its volumes then.
func TestAVolumeIsMadeWhereItsProjectHasThemByThen(t *testing.T) {
	post := api.StorageVolumesPost{Name: "new", Type: "custom"}
	for name, create := range map[string]func(w *world) (*operation.Task, error){
		"create": func(w *world) (*operation.Task, error) { return w.service.CreateVolume(w.ctx, "p", "x", post) },
		"copy": func(w *world) (*operation.Task, error) {
			post := post
			post.Source = api.StorageVolumeSource{Type: "copy", Name: "v", Project: "default"}
			return w.service.CreateVolume(w.ctx, "p", "x", post)
		},
		"move": func(w *world) (*operation.Task, error) {
			return w.service.MoveVolume(custom("v"), VolumeID{Pool: "p", Project: "x", Type: VolumeCustom, Name: "new"})
		},
	} {
		w := newWorld(t)
		w.ok(w.pool("p", nil))
		w.ok(w.create("v", api.StorageVolumeSource{}))
		w.service.Projects = &sharedMeanwhile{}
		w.run(create(w))
		if _, _, err := w.service.Volume(custom("new")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if lost := w.service.volumes.List("p", "x"); len(lost) != 0 {
			t.Errorf("%s: out of sight is %v", name, lost[0].Path)
		}
	}
}
