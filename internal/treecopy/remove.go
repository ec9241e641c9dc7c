package treecopy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/subvolume"
)

// hoistDepth is the depth at which a removal moves a folder up to the top of the tree instead of going further
// down: no nesting, however deep, makes it run out of open files.
const hoistDepth = 200

// ErrMounted is for a tree in which something is mounted: what lies behind a mount is never removed.
var ErrMounted = errors.New("something is mounted in the tree")

// RemoveTree removes the file or folder at path with all that is in it. That it does not exist is no error. The
// parent is trusted, nothing within the tree is. Immutable and append-only flags do not keep anything.
func RemoveTree(ctx context.Context, path string) error {
	// lint:allow guest-paths: the parent is the caller's, what is within is reached by handle
	parent, err := os.Open(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := RemoveAt(ctx, parent, filepath.Base(path)); err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}

// RemoveAt is RemoveTree for one name inside an open folder.
func RemoveAt(ctx context.Context, parent *os.File, name string) error {
	if name == "" || name == "." || name == ".." || filepath.Base(name) != name {
		return fmt.Errorf("remove %q: %w", name, os.ErrInvalid)
	}
	top := int(parent.Fd())
	err := unix.Unlinkat(top, name, 0)
	switch err {
	case nil, unix.ENOENT:
		return nil
	case unix.EISDIR, unix.EPERM:
	default:
		return err
	}
	r := &remover{workers: newWorkers(ctx, 0), root: -1}
	root, err := openDirBelow(top, name)
	switch err {
	case nil:
	case unix.EXDEV:
		return ErrMounted
	case unix.ELOOP, unix.ENOTDIR: // a file with a flag on it
		return r.unlink(top, name, 0)
	default:
		return err
	}
	defer unix.Close(root)
	r.root = root
	r.empty(root, 0)
	for r.err() == nil && r.hoisted.Swap(false) {
		r.empty(root, 0)
	}
	if err := r.err(); err != nil {
		return err
	}
	return r.unlink(top, name, unix.AT_REMOVEDIR)
}

type remover struct {
	*workers
	root    int
	hoisted atomic.Bool
	serial  atomic.Uint64
}

// empty removes all that is in an open folder.
func (r *remover) empty(dir, depth int) {
	entries, err := readDir(dir)
	if err != nil {
		r.note(err)
		return
	}
	var wg sync.WaitGroup
	for _, e := range entries {
		if r.err() != nil {
			break
		}
		if e.kind != unix.DT_DIR {
			err := r.unlink(dir, e.name, 0)
			if err == nil {
				continue
			}
			if err != unix.EISDIR {
				r.note(fmt.Errorf("%s: %w", e.name, err))
				break
			}
		}
		if err := r.folder(dir, e.name, depth, &wg); err != nil {
			r.note(fmt.Errorf("%s: %w", e.name, err))
			break
		}
	}
	wg.Wait()
}

// folder removes one folder, sooner or later.
func (r *remover) folder(dir int, name string, depth int, wg *sync.WaitGroup) error {
	if err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); err == nil || err == unix.ENOENT {
		return nil
	}
	if depth >= hoistDepth {
		return r.moveToTop(dir, name)
	}
	fd, err := openDirBelow(dir, name)
	switch err {
	case nil:
	case unix.ENOENT:
		return nil
	case unix.EXDEV:
		return ErrMounted
	default:
		return err
	}
	r.do(wg, func() error {
		r.empty(fd, depth+1)
		_ = unix.Close(fd)
		if r.err() != nil {
			return nil
		}
		err := r.unlink(dir, name, unix.AT_REMOVEDIR)
		if err != nil && err != unix.ENOTEMPTY {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err == unix.ENOTEMPTY {
			r.hoisted.Store(true) // somebody still adds files: another round, until the context ends
		}
		return nil
	})
	return nil
}

// moveToTop moves a folder to the top of the tree, from where the next round removes it.
func (r *remover) moveToTop(dir int, name string) error {
	clearFlags(dir, "")
	clearFlags(dir, name)
	clearFlags(r.root, "")
	r.hoisted.Store(true)
	for {
		to := ".hoisted-" + strconv.FormatUint(r.serial.Add(1), 10)
		err := unix.Renameat2(dir, name, r.root, to, unix.RENAME_NOREPLACE)
		if err != unix.EEXIST {
			return err
		}
	}
}

// unlink removes a name, and the flags that keep it if there are any.
func (r *remover) unlink(dir int, name string, flags int) error {
	err := unix.Unlinkat(dir, name, flags)
	switch {
	case err == unix.EPERM || err == unix.EACCES:
		clearFlags(dir, "")
		clearFlags(dir, name)
		err = unix.Unlinkat(dir, name, flags)
	case err == unix.EROFS && subvolume.Thaw(dir):
		err = unix.Unlinkat(dir, name, flags)
	}
	switch err {
	case unix.ENOENT:
		return nil
	case unix.EBUSY:
		return ErrMounted
	}
	return err
}

// ClearFlags takes the immutable and append-only flags off the folder at path, of which the parent is trusted: with one it cannot be renamed. Errors are
// left to the call that the flags were in the way of.
func ClearFlags(path string) {
	// lint:allow guest-paths: the parent is the caller's
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return
	}
	defer parent.Close()
	clearFlags(int(parent.Fd()), filepath.Base(path))
}

// clearFlags takes the immutable and append-only flags off a file or folder, or off dir itself without a name.
// Errors are left to the call that the flags were in the way of.
func clearFlags(dir int, name string) {
	fd := dir
	if name != "" {
		var st unix.Stat_t
		if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			return
		}
		if t := st.Mode & unix.S_IFMT; t != unix.S_IFREG && t != unix.S_IFDIR {
			return // only these have flags, and opening others has effects
		}
		var err error
		fd, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		if err != nil {
			return
		}
		defer unix.Close(fd)
	}
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil || flags&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) == 0 {
		return
	}
	// FS_IMMUTABLE_FL and FS_APPEND_FL have the values of their statx twins (linux/fs.h).
	_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags&^(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND)))
}
