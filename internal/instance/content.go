package instance

import (
	"context"
	"errors"
	"maps"
	"os"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/image"
	"github.com/berthd/berth/internal/lock"
)

// Content locks an instance, or a snapshot of one ("instance/snapshot"), so that nothing changes it while an image is made from it.
func (s *Service) Content(ctx context.Context, project, name string) (*image.Content, error) {
	name, snapshot, isSnapshot := strings.Cut(name, "/")
	l, err := s.acquire(ctx, project, name, "publish", lock.Short)
	if err != nil {
		return nil, err
	}
	row, err := s.get(project, name)
	if err != nil {
		l.Release()
		return nil, err
	}
	i := row.Value
	volume, body := i.volume(), &i.Body
	if isSnapshot {
		snap, err := s.getSnapshot(project, name, snapshot)
		if err != nil {
			l.Release()
			return nil, err
		}
		kept := snap.Value.body()
		body = &kept
		volume.Snapshot = snapshot
	} else if s.running(i) {
		l.Release()
		return nil, api.BadRequest("The instance is running")
	}
	content, err := s.holdContent(ctx, "publish", lock.Shared(i.volume().Object()))
	if err != nil {
		l.Release()
		return nil, err
	}
	unmount, err := s.Volumes.Mount(ctx, volume)
	if err != nil {
		content.Release()
		l.Release()
		return nil, err
	}
	release := func() error {
		defer l.Release()
		defer content.Release()
		return unmount()
	}
	dir := s.Volumes.Path(volume)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	defer root.Close()
	meta, err := readMetadata(root)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	if meta.Architecture == "" {
		meta.Architecture = i.Architecture
	}
	meta.Properties = imageProperties(meta.Properties, body.Config)
	return &image.Content{Dir: dir, Metadata: meta, IDMap: onDisk(body), Release: release}, nil
}

// imageProperties are those of an image made from an instance: what its metadata.yaml says, and over that its image.* keys, which it has from the record of its own
// image and which can be set.
func imageProperties(own, config map[string]string) map[string]string {
	properties := maps.Clone(own)
	if properties == nil {
		properties = map[string]string{}
	}
	for key, value := range config {
		if name, ok := strings.CutPrefix(key, "image."); ok && name != "" && value != "" {
			properties[name] = value
		}
	}
	return properties
}
