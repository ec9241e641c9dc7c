package dir

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/subvolume"
	"github.com/berthd/berth/internal/treecopy"
)

// Operations that some file systems can do on a whole tree at once. errors.ErrUnsupported says that this tree has to be
// handled file by file.
type (
	// maker makes an empty tree, open to root only.
	maker interface{ Make(path string) error }
	// cloner makes the tree dst, of which nothing is there, with the content of src; frozen, if nobody will write to it.
	cloner interface {
		Clone(dst, src string, frozen bool) error
	}
	// freezer makes a tree one that nobody can write to.
	freezer interface{ Freeze(path string) error }
	// limiter bounds what a tree holds, in bytes; 0 is no bound.
	limiter interface {
		Limit(path string, bytes int64) error
	}
	// remover removes a tree; that it is not there is no error.
	remover interface {
		Remove(ctx context.Context, path string) error
	}
)

// host is what the pool's file system offers of these; nil if nothing.
func (d *Dir) host() any {
	d.probe.Do(func() {
		if subvolume.On(d.source) {
			d.offers = subvolume.FS{}
		}
	})
	return d.offers
}

// makeTree makes an empty folder for a volume.
func (d *Dir) makeTree(path string) error {
	if m, ok := d.host().(maker); ok {
		return m.Make(path)
	}
	return os.Mkdir(path, 0o700)
}

// copyTree makes dst with the content of src, in the cheapest way there is, and marks it as v.
func (d *Dir) copyTree(ctx context.Context, dst, src string, v storagedriver.Volume) error {
	if c, ok := d.host().(cloner); ok {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.clone(c, dst, src, v); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	if err := d.makeTree(dst); err != nil {
		return err
	}
	if err := treecopy.Copy(ctx, dst, src, treecopy.Options{}); err != nil {
		return err
	}
	return mark(dst, v)
}

// clone makes dst in one step. A snapshot nobody can write to; it inherits its mark from the volume, unless that is one
// nobody can write to either.
func (d *Dir) clone(c cloner, dst, src string, v storagedriver.Volume) error {
	if v.Snapshot != "" && mark(src, v) == nil {
		return c.Clone(dst, src, true)
	}
	if err := c.Clone(dst, src, false); err != nil {
		return err
	}
	if err := mark(dst, v); err != nil {
		return err
	}
	if f, ok := c.(freezer); ok && v.Snapshot != "" {
		return f.Freeze(dst)
	}
	return nil
}

// SetQuota implements storagedriver.QuotaSetter; errors.ErrUnsupported: the file system keeps no quotas.
func (d *Dir) SetQuota(_ context.Context, v storagedriver.Volume, bytes int64) error {
	l, ok := d.host().(limiter)
	if !ok {
		return errors.ErrUnsupported
	}
	return l.Limit(d.Path(v), bytes)
}

// removeTree removes a volume, or the folder of a volume's snapshots, with all that is in it.
func (d *Dir) removeTree(ctx context.Context, path string) error {
	if r, ok := d.host().(remover); ok {
		if err := r.Remove(ctx, path); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		if err := removeWithin(ctx, r, path); err != nil {
			return err
		}
	}
	return treecopy.RemoveTree(ctx, path)
}

// removeWithin removes those entries of a folder that r can remove at once: of snapshots, all.
func removeWithin(ctx context.Context, r remover, path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := r.Remove(ctx, filepath.Join(path, e.Name())); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return nil
}
