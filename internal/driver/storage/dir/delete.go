package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
)

// Unmount implements storagedriver.Pool. No disk is asked: it may be one that does not answer any more.
func (d *Dir) Unmount(context.Context) error {
	if !d.external() {
		return nil
	}
	for {
		err := unix.Unmount(d.root, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) && !d.shown() { // whoever is there is on a disk that has gone
			err = unix.Unmount(d.root, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		}
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT): // nothing is mounted
			return nil
		case err != nil:
			return fmt.Errorf("unmount %s: %w", d.root, err)
		}
	}
}

// shown tells whether the source is there, and is what root shows.
func (d *Dir) shown() bool {
	source, err := folderAt(d.source)
	if err != nil {
		return false
	}
	root, err := folderAt(d.root)
	return err == nil && source == root
}

// Delete implements storagedriver.Pool.
func (d *Dir) Delete(ctx context.Context) error {
	if err := d.Unmount(ctx); err != nil {
		return err
	}
	cleared := d.clear(ctx)
	if cleared != nil && !away(cleared) {
		return cleared
	}
	if err := os.Remove(d.root); err != nil && !errors.Is(err, os.ErrNotExist) && cleared == nil {
		return err
	}
	if cleared != nil {
		return fmt.Errorf("source path '%s' %w: %w", d.source, storagedriver.ErrAway, cleared)
	}
	return nil
}

// away tells whether an error says of a disk or a server, rather than of what was to be done there, that it cannot be reached or takes no changes.
func away(err error) bool {
	return slices.ContainsFunc([]error{
		os.ErrNotExist, unix.ENOTDIR, unix.EROFS, unix.EIO, unix.EUCLEAN, unix.ENODEV, unix.ENXIO, unix.ESTALE, unix.ENOTCONN, unix.EHOSTDOWN,
		unix.EHOSTUNREACH, unix.ETIMEDOUT, unix.ESHUTDOWN, storagedriver.ErrOther,
	}, func(one error) bool { return errors.Is(err, one) })
}

// clear removes what the driver made in the pool's folder: prepared images, remains, and folders that are empty. It removes
// nothing if there is anything else.
func (d *Dir) clear(ctx context.Context) error {
	if _, err := os.Stat(d.source); err != nil {
		if !d.external() && errors.Is(err, os.ErrNotExist) { // there is nothing of the pool elsewhere
			return nil
		}
		return err
	}
	if _, err := d.poolMarked(); err != nil {
		return err
	}
	for name := range layout() {
		if name == string(storagedriver.Images) {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(d.source, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), tmpPrefix) && !d.emptyFolder(name, e.Name()) {
				return fmt.Errorf("%s/%s/%s: the pool %w", d.source, name, e.Name(), storagedriver.ErrNotEmpty)
			}
		}
	}
	for name := range layout() {
		if err := d.removeTree(ctx, filepath.Join(d.source, name)); err != nil {
			return err
		}
	}
	return d.unmarkPool()
}

// emptyFolder tells whether a folder for snapshots has none in it.
func (d *Dir) emptyFolder(kind, name string) bool {
	if !strings.HasSuffix(kind, "-snapshots") {
		return false
	}
	entries, err := os.ReadDir(filepath.Join(d.source, kind, name))
	if err != nil {
		return false
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tmpPrefix) {
			return false
		}
	}
	return true
}
