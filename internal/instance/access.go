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
	return s.filesRoot(ctx, project, name, func(visited) (<-chan struct{}, func()) { return nil, func() {} })
}

// LastingRoot is FilesRoot for whoever stays for longer than one call, and is told to go.
func (s *Service) LastingRoot(ctx context.Context, project, name string) (files.Root, error) {
	return s.filesRoot(ctx, project, name, s.visits.enter)
}

type enter func(visited) (gone <-chan struct{}, leave func())

func (s *Service) filesRoot(ctx context.Context, project, name string, enter enter) (files.Root, error) {
	row, err := s.get(project, name)
	if err != nil {
		return files.Root{}, err
	}
	i := row.Value
	if s.running(i) {
		// Entered before the root is opened, which fails once the run has ended, and so before those who are in it are told to go.
		gone, leave := enter(visited{i.id(), true})
		r, err := s.runningRoot(i)
		if err == nil {
			r.Gone, r.Release = gone, join(r.Release, leave)
			return r, nil
		}
		leave() // it ends at this moment: its files are then read from its volume, as those of a stopped one
		return s.volumeRoot(ctx, i, enter)
	}
	if err := s.unsettled(project, name, "files"); err != nil { // another content may come in its place
		return files.Root{}, err
	}
	r, err := s.volumeRoot(ctx, i, enter)
	if err != nil {
		return r, err
	}
	// What has been changed while it was entered would not be noticed any more.
	if again, err := s.get(project, name); err != nil || again.Value.volume() != i.volume() || s.running(again.Value) {
		r.Release()
		return s.filesRoot(ctx, project, name, enter)
	}
	return r, nil
}

func join(first, second func()) func() { return func() { first(); second() } }

// runningRoot is where the files are that a running instance sees.
func (s *Service) runningRoot(i *Instance) (files.Root, error) {
	m, err := idmap.Decode(i.Config["volatile.idmap.current"])
	if err != nil {
		return files.Root{}, err
	}
	root, err := s.Runtime.Root(i.id())
	if err != nil {
		return files.Root{}, err
	}
	return files.Root{Path: fmt.Sprintf("/proc/self/fd/%d", root.Fd()), IDMap: m, Release: func() { _ = root.Close() }}, nil
}

// volumeRoot is where the files are in the volume.
func (s *Service) volumeRoot(ctx context.Context, i *Instance, enter enter) (files.Root, error) {
	gone, leave := enter(visited{i.id(), false})
	release, err := s.Volumes.Mount(ctx, i.volume())
	if err != nil {
		leave()
		return files.Root{}, err
	}
	return files.Root{
		Path:    filepath.Join(s.Volumes.Path(i.volume()), "rootfs"),
		IDMap:   onDisk(&i.Body),
		Release: join(func() { _ = release() }, leave),
		Gone:    gone,
	}, nil
}
