package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/treecopy"
)

var (
	faultFilled    = fault.New("storage.dir.volume.filled")
	faultSnapped   = fault.New("storage.dir.snapshot.copied")
	faultExchanged = fault.New("storage.dir.restore.exchanged")
	faultRenamed   = fault.New("storage.dir.rename.volume")
	faultHidden    = fault.New("storage.dir.delete.hidden")
)

// Path implements storagedriver.Access.
func (d *Dir) Path(v storagedriver.Volume) string {
	if v.Snapshot != "" {
		return filepath.Join(d.snapshots(v), v.Snapshot)
	}
	return filepath.Join(d.root, string(v.Kind), v.Name)
}

// snapshots is the folder with all snapshots of a volume.
func (d *Dir) snapshots(v storagedriver.Volume) string {
	return filepath.Join(d.root, string(v.Kind)+"-snapshots", v.Name)
}

// MountVolume implements storagedriver.Access: a folder is always reachable.
func (d *Dir) MountVolume(_ context.Context, v storagedriver.Volume) error {
	ok, err := d.Exists(v)
	if err == nil && !ok {
		err = fmt.Errorf("volume %s: %w", v, storagedriver.ErrNotFound)
	}
	return err
}

// UnmountVolume implements storagedriver.Access.
func (d *Dir) UnmountVolume(context.Context, storagedriver.Volume) error { return nil }

// Exists implements storagedriver.Access.
func (d *Dir) Exists(v storagedriver.Volume) (bool, error) {
	st, err := os.Lstat(d.Path(v))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && st.IsDir(), err
}

// CreateVolume implements storagedriver.Volumes.
func (d *Dir) CreateVolume(ctx context.Context, v storagedriver.Volume, fill storagedriver.Fill) error {
	return d.place(ctx, v, func(tmp string) error {
		if err := d.makeTree(tmp); err != nil {
			return err
		}
		if fill != nil {
			if err := fill(ctx, tmp); err != nil {
				return err
			}
		}
		if err := mark(tmp, v); err != nil {
			return err
		}
		return faultFilled.Hit()
	})
}

// CopyVolume implements storagedriver.Volumes.
func (d *Dir) CopyVolume(ctx context.Context, dst, src storagedriver.Volume) error {
	return d.place(ctx, dst, func(tmp string) error {
		if err := d.copyTo(ctx, tmp, src, dst); err != nil {
			return err
		}
		return faultFilled.Hit()
	})
}

// CreateSnapshot implements storagedriver.Snapshots.
func (d *Dir) CreateSnapshot(ctx context.Context, snap storagedriver.Volume) error {
	return d.CopySnapshot(ctx, snap, snap.Of())
}

// CopySnapshot implements storagedriver.Snapshots.
func (d *Dir) CopySnapshot(ctx context.Context, dst, src storagedriver.Volume) error {
	err := os.Mkdir(d.snapshots(dst), 0o700)
	switch {
	case err == nil:
		setTopDir(d.snapshots(dst))
	case !errors.Is(err, os.ErrExist):
		return err
	}
	err = d.place(ctx, dst, func(tmp string) error {
		if err := d.copyTo(ctx, tmp, src, dst); err != nil {
			return err
		}
		return faultSnapped.Hit()
	})
	if err != nil {
		_ = os.Remove(d.snapshots(dst)) // if there is no other
	}
	return err
}

// RestoreSnapshot implements storagedriver.Snapshots. The old content changes places with the new one in one step; after an error
// the old one is in place.
func (d *Dir) RestoreSnapshot(ctx context.Context, snap storagedriver.Volume) error {
	path := d.Path(snap.Of())
	if ok, err := d.Exists(snap.Of()); err != nil || !ok {
		return errors.Join(err, fmt.Errorf("volume %s: %w", snap.Of(), storagedriver.ErrNotFound))
	}
	volume := snap.Of()
	var err error
	if volume.UUID, err = readMark(path, volume); err != nil {
		return fmt.Errorf("identity of %s: %w", volume, err)
	}
	tmp := tmpName(filepath.Dir(path))
	if err := d.copyTo(ctx, tmp, snap, volume); err != nil {
		return errors.Join(err, d.discard(ctx, tmp))
	}
	if err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE); err != nil {
		return errors.Join(fmt.Errorf("restore %s: %w", snap, err), d.discard(ctx, tmp))
	}
	if err := faultExchanged.Hit(); err != nil {
		back := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
		return errors.Join(err, back, d.discard(ctx, tmp))
	}
	// The restore is done. Old content that cannot be removed now is swept away when the pool is next mounted.
	_ = d.discard(ctx, tmp)
	return nil
}

// RenameVolume implements storagedriver.Volumes.
func (d *Dir) RenameVolume(_ context.Context, from, to storagedriver.Volume) error {
	moved, err := d.moveVolume(from, to)
	if err != nil {
		return fmt.Errorf("rename %s: %w", from, err)
	}
	if from.Snapshot != "" {
		return nil
	}
	if err := faultRenamed.Hit(); err != nil {
		return err
	}
	err = move(d.snapshots(from), d.snapshots(to))
	switch {
	case err == nil, errors.Is(err, storagedriver.ErrNotFound), errors.Is(err, errMoved):
		return nil
	case !moved && errors.Is(err, storagedriver.ErrExists):
		return nil // the volume was where it belongs, and so are its snapshots: the others are not this volume's
	}
	return fmt.Errorf("rename snapshots of %s: %w", from, err)
}

// moveVolume gives a volume or a snapshot its new name. moved is false if it had that already.
func (d *Dir) moveVolume(from, to storagedriver.Volume) (moved bool, err error) {
	if err := mine(d.Path(from), from); err != nil {
		return false, err
	}
	if from.Snapshot == "" && exists(d.Path(from)) && exists(d.snapshots(from)) && exists(d.snapshots(to)) {
		return false, fmt.Errorf("snapshots of %s: %w", to, storagedriver.ErrExists)
	}
	err = move(d.Path(from), d.Path(to))
	if errors.Is(err, errMoved) {
		// Done already, if it is this volume that is there.
		return false, mine(d.Path(to), storagedriver.Volume{Kind: to.Kind, Name: to.Name, Snapshot: to.Snapshot, UUID: from.UUID})
	}
	return err == nil, err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// ExchangeVolumes implements storagedriver.Volumes.
func (d *Dir) ExchangeVolumes(_ context.Context, a, b storagedriver.Volume) error {
	err := unix.Renameat2(unix.AT_FDCWD, d.Path(a), unix.AT_FDCWD, d.Path(b), unix.RENAME_EXCHANGE)
	if err == unix.ENOENT {
		err = storagedriver.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("exchange %s and %s: %w", a, b, err)
	}
	return nil
}

// DeleteVolume implements storagedriver.Volumes.
func (d *Dir) DeleteVolume(ctx context.Context, v storagedriver.Volume) error {
	path := d.Path(v)
	if err := mine(path, v); err != nil {
		return fmt.Errorf("delete %w", err)
	}
	if err := d.remove(ctx, path); err != nil {
		return fmt.Errorf("delete %s: %w", v, err)
	}
	if v.Kind != storagedriver.Images {
		_ = os.Remove(d.snapshots(v)) // if there is none (any more)
	}
	return nil
}

// place calls make to make a volume under a temporary name, and then renames it into place, where nothing may be.
func (d *Dir) place(ctx context.Context, v storagedriver.Volume, make func(tmp string) error) error {
	path := d.Path(v)
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("volume %s: %w", v, storagedriver.ErrExists)
	}
	tmp := tmpName(filepath.Dir(path))
	if err := make(tmp); err != nil {
		return errors.Join(err, d.discard(ctx, tmp))
	}
	err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if err == unix.EEXIST {
		err = storagedriver.ErrExists
	}
	if err != nil {
		return errors.Join(fmt.Errorf("volume %s: %w", v, err), d.discard(ctx, tmp))
	}
	return nil
}

// copyTo makes tmp, which becomes dst, with the content of src.
func (d *Dir) copyTo(ctx context.Context, tmp string, src, dst storagedriver.Volume) error {
	err := d.copyTree(ctx, tmp, d.Path(src), dst)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("volume %s: %w", src, storagedriver.ErrNotFound)
	}
	return err
}

func tmpName(parent string) string { return filepath.Join(parent, tmpPrefix+uuid.NewString()) }

// discard removes what came to nothing, also after the context has ended.
func (d *Dir) discard(ctx context.Context, path string) error {
	if gone(path) {
		return nil
	}
	return d.removeTree(context.WithoutCancel(ctx), path)
}

// gone tells whether there is nothing to remove. It is asked first, as a file system that is read-only refuses a removal before it looks.
func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}

// remove takes a folder out of sight in one step and then removes it.
func (d *Dir) remove(ctx context.Context, path string) error {
	if gone(path) {
		return nil
	}
	tmp := tmpName(filepath.Dir(path))
	err := os.Rename(path, tmp)
	if errors.Is(err, os.ErrPermission) { // a flag on the folder itself
		treecopy.ClearFlags(path)
		err = os.Rename(path, tmp)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := faultHidden.Hit(); err != nil {
		return err
	}
	return d.removeTree(ctx, tmp)
}

// errMoved is that there is nothing to move any more, and something where it was to go.
var errMoved = errors.New("moved already")

// move renames a folder.
func move(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch err {
	case unix.ENOENT:
		if _, err := os.Lstat(to); err == nil {
			return errMoved
		}
		return storagedriver.ErrNotFound
	case unix.EEXIST:
		return storagedriver.ErrExists
	}
	return err
}
