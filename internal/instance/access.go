package instance

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/instance/files"
)

// FilesRoot is where the files of an instance are: as it sees them itself while it runs, else in its volume.
func (s *Service) FilesRoot(ctx context.Context, project, name string) (files.Root, error) {
	row, err := s.get(project, name)
	if err != nil {
		return files.Root{}, err
	}
	i := row.Value
	if s.running(i) {
		m, err := idmap.Decode(i.Config["volatile.idmap.current"])
		if err != nil {
			return files.Root{}, err
		}
		// Root fails for one that ends at this moment: its files are then read from its volume, as those of a stopped one.
		if root, err := s.Runtime.Root(i.id()); err == nil {
			return files.Root{Path: fmt.Sprintf("/proc/self/fd/%d", root.Fd()), IDMap: m, Release: func() { _ = root.Close() }}, nil
		}
	}
	release, err := s.Volumes.Mount(ctx, i.volume())
	if err != nil {
		return files.Root{}, err
	}
	return files.Root{
		Path:    filepath.Join(s.Volumes.Path(i.volume()), "rootfs"),
		IDMap:   onDisk(&i.Body),
		Release: func() { _ = release() },
	}, nil
}
