package storage

import (
	"context"

	"github.com/berthd/berth/internal/lock"
)

// Object is the volume as locks know it, with its snapshots. Whoever copies it holds it shared, whoever replaces, moves or
// removes its content exclusively.
func (v VolumeID) Object() lock.Object {
	path := v.of().path()
	return lock.Of(lock.Volume, path...)
}

// hold claims objects for an action, waiting for others that hold them, within the bound of package lock.
func (s *Service) hold(ctx context.Context, action string, wants ...lock.Want) (release func(), err error) {
	held, err := s.Locks.Acquire(ctx, lock.Claim{Action: action, Patience: lock.Long}, wants...)
	if err != nil {
		return nil, err
	}
	return held.Release, nil
}

// inProject keeps a project as it is until the release, and tells which project's custom volumes are its own: what was found of that before may
// have changed since.
func (s *Service) inProject(ctx context.Context, action, project string) (held context.Context, home string, release func(), err error) {
	held, release, err = s.Projects.Hold(ctx, action, project)
	if err != nil {
		return nil, "", nil, err
	}
	if home, err = homeFor(ctx, s.Projects, project); err != nil {
		release()
		return nil, "", nil, err
	}
	return held, home, release, nil
}

// holdMount keeps the mount and unmount of one volume apart.
func (s *Service) holdMount(ctx context.Context, vol VolumeID) (release func(), err error) {
	return s.hold(ctx, "mount", lock.Exclusive(lock.Of(lock.Mount, vol.path()...)))
}

// holdAttachment keeps what happens to one attachment apart.
func (s *Service) holdAttachment(ctx context.Context, user string) (release func(), err error) {
	return s.hold(ctx, "attach", lock.Exclusive(lock.Of(lock.Attachment, user)))
}

// holdImage claims a pool's prepared copy of an image: to make instances from it, shared, or to make or drop it. The
// first unpacks, however long that takes, and all others want what comes of it: only the context ends their wait.
func (s *Service) holdImage(ctx context.Context, want lock.Want) (release func(), err error) {
	held, err := s.Locks.Acquire(ctx, lock.Claim{Action: "unpack", Patience: lock.Unbounded}, want)
	if err != nil {
		return nil, err
	}
	return held.Release, nil
}
