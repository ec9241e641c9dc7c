package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
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

// holdSource keeps creations and deletions of pools on one folder apart, whatever the pools are called: a creation finds it empty, and
// what it undoes, or a deletion clears, must not be what another has made there since. A lock on the folder itself tells other daemons
// of the host. Where the file system has no such locks, or the folder is yet to be made, there is only ours.
func (s *Service) holdSource(ctx context.Context, action string, r *poolRecord) (release func(), _ error) {
	source := r.Config["source"]
	if real, err := filepath.EvalSymlinks(source); err == nil {
		source = real
	}
	unlock, err := s.hold(ctx, action, lock.Exclusive(lock.Of(lock.Source, source)))
	if err != nil {
		return nil, err
	}
	folder, err := os.Open(source)
	if err != nil {
		return unlock, nil
	}
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		unlock()
		return nil, errors.Join(api.Conflict("Source path '%s' is in use by another process", source), folder.Close())
	}
	return func() {
		_ = folder.Close()
		unlock()
	}, nil
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
