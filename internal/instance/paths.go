package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/spec"
	"github.com/berthd/berth/internal/treecopy"
)

// linkInstance makes containers/<id> point at the volume, as people and scripts expect. Idempotent.
func (s *Service) linkInstance(i *Instance) error {
	return link(s.Volumes.Path(i.volume()), s.containerLink(i))
}

func (s *Service) containerLink(i *Instance) string {
	return filepath.Join(s.Root, "containers", i.id())
}

func (s *Service) snapshotsLink(i *Instance) string {
	return filepath.Join(s.Root, "snapshots", i.id())
}

func (s *Service) snapshotsFolder(i *Instance) string {
	return filepath.Dir(s.Volumes.Path(i.snapshotVolume("x")))
}

// linkSnapshots makes snapshots/<id> point at the folder of the instance's snapshots, or removes it when there are
// none.
func (s *Service) linkSnapshots(i *Instance, any bool) error {
	if !any {
		return unlink(s.snapshotsLink(i))
	}
	return link(s.snapshotsFolder(i), s.snapshotsLink(i))
}

func (s *Service) unlinkAll(id string) error {
	return errors.Join(
		unlink(filepath.Join(s.Root, "containers", id)),
		unlink(filepath.Join(s.Root, "snapshots", id)),
		s.dropDevicesPath(id),
		os.RemoveAll(s.logPath(id)),
	)
}

// restrictFolder lets nobody but the host's root and the instance's own pass through the folder of an instance's volume: programs
// inside that change user on execution must be out of reach of the host's users.
func restrictFolder(dir string, m []spec.IDMapEntry) error {
	owner, group := 0, 0
	for _, e := range m {
		if e.NSID == 0 && e.UID {
			owner = int(e.HostID)
		}
		if e.NSID == 0 && e.GID {
			group = int(e.HostID)
		}
	}
	if err := os.Chown(dir, owner, group); err != nil {
		return err
	}
	return os.Chmod(dir, 0o100)
}

func (s *Service) devicesPath(id string) string { return filepath.Join(s.Root, "devices", id) }

// dropDevicesPath removes the folder of an instance's devices. Disks mount folders of the host in it: what is still
// mounted is detached first, and RemoveTree stops at what could not be. os.RemoveAll would empty the host's folders.
func (s *Service) dropDevicesPath(id string) error {
	at := s.devicesPath(id)
	entries, err := os.ReadDir(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		for unix.Unmount(filepath.Join(at, e.Name()), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) == nil {
			continue
		}
	}
	return treecopy.RemoveTree(context.Background(), at)
}

func (s *Service) logPath(id string) string { return filepath.Join(s.Root, "logs", id) }

func link(target, at string) error {
	if old, err := os.Readlink(at); err == nil && old == target {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o711); err != nil {
		return err
	}
	if err := unlink(at); err != nil {
		return err
	}
	return os.Symlink(target, at)
}

// unlink removes a symlink and nothing else: a folder in its place is somebody's data.
func unlink(at string) error {
	st, err := os.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode()&fs.ModeSymlink == 0 {
		return fmt.Errorf("%s is not a link", at)
	}
	return os.Remove(at)
}

// unlinkNames removes the links under containers and snapshots alone.
func (s *Service) unlinkNames(id string) error {
	return errors.Join(
		unlink(filepath.Join(s.Root, "containers", id)),
		unlink(filepath.Join(s.Root, "snapshots", id)),
	)
}

// unlinkLost removes those links of an instance that lead to where its volume and snapshots would be, but are not. Links to
// anything that is there, or elsewhere, and folders are not the instance's.
func (s *Service) unlinkLost(i *Instance) error {
	var all error
	for at, target := range map[string]string{
		s.containerLink(i): s.Volumes.Path(i.volume()), s.snapshotsLink(i): s.snapshotsFolder(i),
	} {
		if lost(at, target) {
			all = errors.Join(all, unlink(at))
		}
	}
	return all
}

// isDangling tells whether the link to an instance's volume is there and the volume is not.
func (s *Service) isDangling(i *Instance) bool {
	return lost(s.containerLink(i), s.Volumes.Path(i.volume()))
}

// lost tells whether a link leads to target, and target is not there.
func lost(at, target string) bool {
	to, err := os.Readlink(at)
	if err != nil || to != target {
		return false
	}
	_, err = os.Lstat(target)
	return errors.Is(err, fs.ErrNotExist)
}
