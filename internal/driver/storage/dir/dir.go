// Package dir keeps a pool in plain folders, in LXD's layout, on whatever file system is there. Where that shares
// file contents (xfs, btrfs), copies and snapshots take no space.
//
// What the file system can do with a whole tree at once is used: on btrfs each volume and snapshot is a subvolume, to be copied
// and removed in one step. That is no condition: a volume that is a plain folder (an earlier version's, or one
// that was put there by hand), or in which a guest has made subvolumes, is copied file by file, and stays whole.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
)

// tmpPrefix marks what is not, or no longer, a volume.
const tmpPrefix = storagedriver.Unfinished

// Dir is one pool.
type Dir struct {
	root   string
	source string // folder that the pool is kept in; root unless the user gave one
	uuid   string

	at atomic.Pointer[folder] // what root was when it was mounted

	probe  sync.Once
	offers any // see host
}

var (
	_ storagedriver.Driver   = (*Dir)(nil)
	_ storagedriver.Checker  = (*Dir)(nil)
	_ storagedriver.Presence = (*Dir)(nil)
	_ storagedriver.Answerer = (*Dir)(nil)

	_ storagedriver.QuotaSetter = (*Dir)(nil)
)

// New makes the driver of one pool; it touches nothing.
func New(c storagedriver.Config) *Dir {
	d := &Dir{root: c.Root, source: c.Options["source"], uuid: c.UUID}
	if d.source == "" {
		d.source = d.root
	}
	return d
}

// external tells that the pool is kept in a folder of the user's.
func (d *Dir) external() bool { return filepath.Clean(d.source) != filepath.Clean(d.root) }

// layout is the folders of a pool. Those that a container's root has to pass through are open for passing.
func layout() map[string]os.FileMode {
	return map[string]os.FileMode{
		"buckets": 0o711, "containers": 0o711, "containers-snapshots": 0o711,
		"custom": 0o700, "custom-snapshots": 0o700, "images": 0o700,
		"virtual-machines": 0o700, "virtual-machines-snapshots": 0o700,
	}
}

// Create implements storagedriver.Pool.
func (d *Dir) Create(ctx context.Context) error {
	if err := d.Check(); err != nil {
		return err
	}
	if err := d.unmarkPool(); err != nil { // of a pool that has been removed by hand: there is nothing of it
		return err
	}
	return d.Repair(ctx)
}

// Repair implements storagedriver.Pool.
func (d *Dir) Repair(context.Context) error {
	if err := os.Mkdir(d.root, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := d.markPool(); err != nil {
		return err
	}
	return d.lay(d.source) // by which Mount knows it again
}

// lay makes the folders of a pool. What is as it should be is not touched: the disk may take no changes.
func (d *Dir) lay(root string) error {
	for name, mode := range layout() {
		path := filepath.Join(root, name)
		if st, err := os.Stat(path); err != nil || st.Mode() != os.ModeDir|mode {
			if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, os.ErrExist) {
				return fmt.Errorf("pool folder: %w", err)
			}
			if err := os.Chmod(path, mode); err != nil {
				return fmt.Errorf("pool folder: %w", err)
			}
		}
		setTopDir(path)
	}
	return nil
}

// laid tells whether there is anything of a pool's folders: a deletion that was cut off may have left some.
func (d *Dir) laid() bool {
	for name := range layout() {
		if _, err := os.Lstat(filepath.Join(d.source, name)); !errors.Is(err, os.ErrNotExist) {
			return true
		}
	}
	return false
}

// Check implements storagedriver.Checker.
func (d *Dir) Check() error {
	folder, err := os.OpenFile(d.source, os.O_RDONLY|unix.O_DIRECTORY, 0) // a pipe would wait for somebody to write
	switch {
	case errors.Is(err, os.ErrNotExist) && d.external():
		return fmt.Errorf("Source path '%s' doesn't exist", d.source)
	case errors.Is(err, os.ErrNotExist):
		return nil
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("Source path '%s' isn't a directory", d.source)
	case err != nil:
		return fmt.Errorf("read source path: %w", err)
	}
	defer folder.Close()
	switch _, err := folder.Readdirnames(1); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("read source path: %w", err)
	}
	return fmt.Errorf("Source path '%s' isn't empty", d.source)
}

// Mount implements storagedriver.Pool.
func (d *Dir) Mount(ctx context.Context) error {
	// An empty folder is where a disk was to be mounted: volumes would be missed, and forgotten.
	if !d.laid() {
		return fmt.Errorf("%s holds nothing of the pool: is the disk mounted that it is on? If it has gone for good, make the folder \"containers\" in it, "+
			"and what the pool had can be deleted", d.source)
	}
	if err := d.markMounted(); err != nil {
		return err
	}
	bound := false
	var err error
	if d.external() {
		bound, err = d.bind()
	}
	if err == nil {
		err = d.layMounted()
	}
	if err != nil {
		if bound {
			err = errors.Join(err, unix.Unmount(d.root, unix.UMOUNT_NOFOLLOW))
		}
		return err
	}
	if err := d.sweep(ctx); err != nil {
		// They take room, and are in nobody's way; the next mount tries again.
		slog.Warn("Remains in a storage pool cannot be removed", "pool", d.root, "err", err)
	}
	at, err := folderAt(d.root)
	if err == nil {
		d.at.Store(&at)
	}
	return err
}

// layMounted is lay for a pool that has been made. What a disk that has become read-only holds can be read, and moved elsewhere.
func (d *Dir) layMounted() error {
	err := d.lay(d.root)
	if errors.Is(err, unix.EROFS) {
		slog.Warn("A storage pool is read-only", "pool", d.root, "err", err)
		return nil
	}
	return err
}

// Present implements storagedriver.Presence.
func (d *Dir) Present() bool {
	was := d.at.Load()
	at, err := folderAt(d.root)
	return err == nil && was != nil && at == *was
}

// Answers implements storagedriver.Answerer. A file system that is frozen answers to all but changes.
func (d *Dir) Answers() error {
	path := filepath.Join(d.root, "containers", tmpPrefix+"answers") // which the next Mount sweeps away if need be
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.Remove(path)
}

// folder is a folder, whatever its name.
type folder struct {
	major, minor uint32
	inode        uint64
}

// folderAt tells which folder has a name, without a question to a disk or a server that may not answer.
func folderAt(path string) (folder, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st); err != nil {
		return folder{}, fmt.Errorf("pool folder %s: %w", path, err)
	}
	return folder{st.Dev_major, st.Dev_minor, st.Ino}, nil
}

// bind puts the source folder at the pool's root, and tells whether it did: it may be there already.
func (d *Dir) bind() (bool, error) {
	if err := os.MkdirAll(d.root, 0o711); err != nil {
		return false, err
	}
	mounted, err := d.bound()
	if err != nil {
		return false, err
	}
	if !mounted {
		if err := unix.Mount(d.source, d.root, "", unix.MS_BIND, ""); err != nil {
			return false, fmt.Errorf("mount %s at %s: %w", d.source, d.root, err)
		}
	}
	return !mounted, d.writable()
}

// bound tells whether root shows the source folder.
func (d *Dir) bound() (bool, error) {
	var source, root unix.Stat_t
	if err := unix.Stat(d.source, &source); err != nil {
		return false, fmt.Errorf("source %s: %w", d.source, err)
	}
	if err := unix.Stat(d.root, &root); err != nil {
		if err == unix.ENOENT {
			return false, nil
		}
		return false, fmt.Errorf("root %s: %w", d.root, err)
	}
	return source.Dev == root.Dev && source.Ino == root.Ino, nil
}

// sweep removes what a daemon that was killed left unfinished.
func (d *Dir) sweep(ctx context.Context) error {
	var errs []error
	for name := range layout() {
		parents := []string{filepath.Join(d.root, name)}
		if strings.HasSuffix(name, "-snapshots") {
			volumes, err := os.ReadDir(parents[0])
			errs = append(errs, err)
			for _, v := range volumes {
				parents = append(parents, filepath.Join(parents[0], v.Name()))
			}
		}
		for i, parent := range parents {
			errs = append(errs, d.sweepFolder(ctx, parent, i > 0))
		}
	}
	return errors.Join(errs...)
}

// sweepFolder removes the remains in one folder, and with dropEmpty the folder too if there is nothing else in it.
func (d *Dir) sweepFolder(ctx context.Context, parent string, dropEmpty bool) error {
	entries, err := os.ReadDir(parent)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	left := len(entries)
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tmpPrefix) {
			continue
		}
		if err := d.removeTree(ctx, filepath.Join(parent, e.Name())); err != nil {
			errs = append(errs, err)
			continue
		}
		left--
	}
	if left == 0 && dropEmpty {
		_ = os.Remove(parent) // the folder for snapshots of a volume that has none
	}
	return errors.Join(errs...)
}
