package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/bounded"
	"github.com/berthd/berth/internal/lock"
)

// ofSource asks the kernel about the folder that a pool is made of, which may be on a disk or a server that hangs: it is waited for as
// long as for a pool that is being mounted.
func ofSource[T any](ctx context.Context, s *Service, source string, call func() (T, error)) (T, error) {
	value, err := bounded.Do(ctx, &s.probes, "source "+source, s.patience, call)
	if errors.Is(err, bounded.ErrHung) {
		err = api.Unavailable("Source path '%s' %w", source, err)
	}
	return value, err
}

// realSource is a source without links; itself where it is yet to be made.
func (s *Service) realSource(ctx context.Context, source string) (string, error) {
	return ofSource(ctx, s, source, func() (string, error) {
		if real, err := filepath.EvalSymlinks(source); err == nil {
			return real, nil
		}
		return source, nil
	})
}

// folderID tells folders apart that have been at one path at different times, such as the top of a disk and the empty folder that it is mounted at.
// It stays what it is when the host starts again, as device numbers do not.
type folderID struct {
	System [2]int32 `json:"system"` // f_fsid of statfs(2)
	Inode  uint64   `json:"inode"`
}

// sourceID is the identity of the folder at a source; nil if there is none.
func (s *Service) sourceID(ctx context.Context, source string) (*folderID, error) {
	return ofSource(ctx, s, source, func() (*folderID, error) {
		var st unix.Stat_t
		var system unix.Statfs_t
		err := unix.Stat(source, &st)
		if err == nil {
			err = unix.Statfs(source, &system)
		}
		if err != nil {
			return nil, nil
		}
		return &folderID{system.Fsid.Val, st.Ino}, nil
	})
}

// holdSource keeps creations and deletions of pools on one folder apart, whatever the pools are called: a creation finds it empty, and
// what it undoes, or a deletion clears, must not be what another has made there since. A lock on the folder itself tells other daemons
// of the host. Where the file system has no such locks, or the folder is yet to be made, there is only ours.
func (s *Service) holdSource(ctx context.Context, action string, r *poolRecord) (release func(), _ error) {
	source, err := s.realSource(ctx, r.Config["source"])
	if err != nil {
		return nil, err
	}
	unlock, err := s.hold(ctx, action, lock.Exclusive(lock.Of(lock.Source, source)))
	if err != nil {
		return nil, err
	}
	folder, err := s.lockFolder(ctx, source)
	if err != nil {
		unlock()
		return nil, err
	}
	return func() {
		_ = folder.Close()
		unlock()
	}, nil
}

// lockFolder locks a folder as long as the file that it returns is open; nil if there is no such lock. What is no folder is not opened: a
// pipe would be waited for until somebody writes to it.
func (s *Service) lockFolder(ctx context.Context, source string) (*os.File, error) {
	return ofSource(ctx, s, source, func() (*os.File, error) {
		folder, err := os.OpenFile(source, os.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return nil, nil
		}
		if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(api.Conflict("Source path '%s' is in use by another process", source), folder.Close())
		}
		return folder, nil
	})
}
