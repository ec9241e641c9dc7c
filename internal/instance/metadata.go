package instance

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/image"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/template"
)

// withVolume runs f on the mounted volume of an instance, beneath a root handle, with the instance's lock held.
func (s *Service) withVolume(ctx context.Context, project, name string, f func(volume *os.Root) error) error {
	row, release, err := s.hold(ctx, project, name, "update", lock.Long)
	if err != nil {
		return err
	}
	defer release()
	unmount, err := s.Volumes.Mount(ctx, row.Value.volume())
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(s.Volumes.Path(row.Value.volume()))
	if err == nil {
		err = errors.Join(f(root), root.Close())
	}
	return errors.Join(err, unmount())
}

// Metadata returns metadata.yaml of an instance.
func (s *Service) Metadata(ctx context.Context, project, name string) (meta *api.ImageMetadata, err error) {
	err = s.withVolume(ctx, project, name, func(volume *os.Root) error {
		meta, err = readMetadata(volume)
		return err
	})
	if err == nil {
		s.publish(ctx, project, "instance-metadata-retrieved", url(project, name), nil)
	}
	return meta, err
}

// SetMetadata replaces metadata.yaml of an instance by what change makes of it.
func (s *Service) SetMetadata(ctx context.Context, project, name string, change func(*api.ImageMetadata) error) error {
	err := s.withVolume(ctx, project, name, func(volume *os.Root) error {
		meta, err := readMetadata(volume)
		if err != nil {
			return err
		}
		if err := change(meta); err != nil {
			return err
		}
		data, err := image.EncodeMetadata(meta)
		if err != nil {
			return err
		}
		if _, err := image.DecodeMetadata(data); err != nil { // what comes in must be what is let in from images
			return api.BadRequest("%w", err)
		}
		return replaceBeneath(volume, "metadata.yaml", data, 0o644)
	})
	if err == nil {
		s.publish(ctx, project, "instance-metadata-updated", url(project, name), nil)
	}
	return err
}

// replaceBeneath puts a file in the place of another at once, so that a crash leaves one of the two.
func replaceBeneath(root *os.Root, name string, data []byte, mode fs.FileMode) error {
	temporary := name + ".new"
	if err := root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, root.Remove(temporary))
	}
	return root.Rename(temporary, name)
}

// Templates lists the names of an instance's templates.
func (s *Service) Templates(ctx context.Context, project, name string) (names []string, err error) {
	names = []string{}
	err = s.withVolume(ctx, project, name, func(volume *os.Root) error {
		entries, err := fs.ReadDir(volume.FS(), "templates")
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		for _, e := range entries {
			if e.Type().IsRegular() {
				names = append(names, e.Name())
			}
		}
		return err
	})
	sort.Strings(names)
	return names, err
}

// Template returns the text of a template.
func (s *Service) Template(ctx context.Context, project, name, file string) (data []byte, err error) {
	if err := checkTemplateName(file); err != nil {
		return nil, err
	}
	err = s.withVolume(ctx, project, name, func(volume *os.Root) error {
		data, err = readBeneath(volume, path.Join("templates", file), template.MaxSource)
		if errors.Is(err, fs.ErrNotExist) {
			return api.NotFound("Template %q not found", file)
		}
		return err
	})
	if err == nil {
		s.publish(ctx, project, "instance-metadata-template-retrieved", url(project, name), map[string]any{"path": file})
	}
	return data, err
}

// SetTemplate writes a template.
func (s *Service) SetTemplate(ctx context.Context, project, name, file string, from io.Reader) error {
	if err := checkTemplateName(file); err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(from, template.MaxSource+1))
	if err != nil {
		return err
	}
	if len(data) > template.MaxSource {
		return api.BadRequest("Template is larger than %d bytes", template.MaxSource)
	}
	err = s.withVolume(ctx, project, name, func(volume *os.Root) error {
		if err := volume.Mkdir("templates", 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return replaceBeneath(volume, path.Join("templates", file), data, 0o644)
	})
	if err == nil {
		s.publish(ctx, project, "instance-metadata-template-created", url(project, name), map[string]any{"path": file})
	}
	return err
}

// DeleteTemplate removes a template.
func (s *Service) DeleteTemplate(ctx context.Context, project, name, file string) error {
	if err := checkTemplateName(file); err != nil {
		return err
	}
	err := s.withVolume(ctx, project, name, func(volume *os.Root) error {
		err := volume.Remove(path.Join("templates", file))
		if errors.Is(err, fs.ErrNotExist) {
			return api.NotFound("Template %q not found", file)
		}
		return err
	})
	if err == nil {
		s.publish(ctx, project, "instance-metadata-template-deleted", url(project, name), map[string]any{"path": file})
	}
	return err
}
