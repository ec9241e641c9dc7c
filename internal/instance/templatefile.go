package instance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/spec"
	"github.com/berthd/berth/internal/treecopy"
)

// templateFile is a file of an instance that a template makes.
type templateFile struct {
	name       string // below the root file system
	target     string // as the metadata has it
	createOnly bool
}

// writeTemplates puts what was printed in its place. Before the first file changes there is room for all of them.
func (s *Service) writeTemplates(ctx context.Context, rootfs *os.Root, i *Instance, e *effective, files []templateFile, printed [][]byte) error {
	quota, _ := config.ParseSize(e.Devices[e.Root]["size"]) // checked with the rest of the configuration
	room := diskspace.New(filepath.Join(s.Volumes.Path(i.volume()), "rootfs"), fmt.Sprintf("storage pool %q", i.Pool), quota)
	folders := int64(0)
	for _, file := range files {
		if folders += file.depth() - 1; folders > maxFolders {
			return api.BadRequest("Failed applying templates: their paths have more than %d folders together", maxFolders)
		}
	}
	w := templateWriter{rootfs: rootfs, ids: onDisk(&i.Body), temporary: ".berth-template-" + i.UUID}
	if most(files, printed) > smallRoom {
		if err := room.Take(growth(rootfs, files, printed)); err != nil {
			return fmt.Errorf("Failed applying templates: %w", err)
		}
		w.room = room
	}
	for n, file := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.write(ctx, file, printed[n]); err != nil {
			return fmt.Errorf("Failed applying template for %s: %w", file.target, err)
		}
	}
	return nil
}

// maxFolders bounds the folders of the paths of all templates of a start together: each is looked for, and made if need be.
const maxFolders = 4096

// smallRoom is how much the files of templates may grow, in bytes, without a look at what is free: a host name and the like. A pool that has nothing but
// its reserve left must not keep instances from being started.
const smallRoom = 64 << 10

// most is the space that files can take, in bytes, if none of them is there.
func most(files []templateFile, printed [][]byte) (bytes int64) {
	for n, file := range files {
		bytes += diskspace.Blocks(int64(len(printed[n]))) + file.depth()*diskspace.Block
	}
	return bytes
}

// growth is the space that files are to take beyond what they hold now, in bytes.
func growth(rootfs *os.Root, files []templateFile, printed [][]byte) (bytes int64) {
	for n, file := range files {
		will, has := diskspace.Blocks(int64(len(printed[n]))), int64(0)
		if info, err := rootfs.Stat(file.name); err != nil {
			will += file.depth() * diskspace.Block
		} else if st, ok := info.Sys().(*syscall.Stat_t); ok {
			has = st.Blocks * 512 // a hole is none
		}
		bytes += max(will-has, 0)
	}
	return bytes
}

// depth is how many files and folders there are to be at most when the file is made.
func (f templateFile) depth() int64 { return int64(strings.Count(f.name, "/") + 1) }

// templateWriter writes files of a root file system that nothing else uses.
type templateWriter struct {
	rootfs    *os.Root
	ids       []spec.IDMapEntry
	room      *diskspace.Room // asked for each file that is made; nil if they are few
	temporary string          // the name of a file while it is written. No guest has the UUID of its instance in a name by chance
}

// write puts what a template printed in its place. A template that only makes its file leaves one alone that another has made
// meanwhile.
func (w *templateWriter) write(ctx context.Context, f templateFile, printed []byte) error {
	name, there, err := linked(w.rootfs, f.name)
	if err != nil || there != nil && f.createOnly {
		return err
	}
	if there != nil && !there.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", name)
	}
	dir, base := path.Split(name)
	if dir = strings.TrimSuffix(dir, "/"); dir == "" {
		dir = "."
	}
	if there == nil {
		if err := w.prepare(ctx, f, name, dir); err != nil {
			return err
		}
	}
	folder, err := w.rootfs.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	if there == nil {
		return w.put(folder, base, printed, nil)
	}
	before, err := folder.OpenFile(base, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer before.Close()
	if same, err := holds(before, there.Size(), printed); err != nil || same {
		return err
	}
	return w.put(folder, base, printed, before)
}

// prepare makes the folders of a file that is not there. Where a link leads, they are not the template's to make.
func (w *templateWriter) prepare(ctx context.Context, f templateFile, name, dir string) error {
	if w.room != nil {
		for range f.depth() {
			if err := w.room.TakeFile(); err != nil {
				return err
			}
		}
	}
	if name != f.name {
		return nil
	}
	return mkdirBeneath(ctx, w.rootfs, dir, w.ids)
}

// maxLinks is how many symbolic links the kernel follows, too.
const maxLinks = 40

// linked gives the name of the file that one reaches by a name, and what it is if it is there: a link stays, and the file that it leads to is written.
func linked(root *os.Root, name string) (file string, there fs.FileInfo, err error) {
	for range maxLinks {
		info, err := root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil, nil
		}
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return name, info, err
		}
		target, err := root.Readlink(name)
		if err != nil {
			return "", nil, err
		}
		if path.IsAbs(target) {
			return "", nil, fmt.Errorf("%s is a link to %s, which is not beneath the root file system", name, target)
		}
		dir, _ := path.Split(name)
		name = dir + target // as it is: what ".." means depends on the links before it
	}
	return "", nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ELOOP}
}

// holds tells whether an open file of a size has a content. Such a file is left alone, so that a start of what has no space left does
// not fail for a template that changes nothing.
func holds(f *os.File, size int64, content []byte) (bool, error) {
	if size != int64(len(content)) {
		return false, nil
	}
	now, err := io.ReadAll(io.LimitReader(f, size))
	return bytes.Equal(now, content), err
}

// put writes a file beside its place and moves it there, so that what was there before is lost only to something whole. The
// new file has the rights of the one before.
func (w *templateWriter) put(folder *os.Root, base string, content []byte, before *os.File) error {
	f, err := w.create(folder)
	if err != nil {
		return err
	}
	err = errors.Join(fill(f, content, before), f.Close())
	if err == nil && before == nil {
		err = giveRoot(folder, w.temporary, w.ids)
	}
	if err == nil {
		err = folder.Rename(w.temporary, base)
	}
	if err != nil {
		return errors.Join(err, folder.Remove(w.temporary))
	}
	return nil
}

func (w *templateWriter) create(folder *os.Root) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL | syscall.O_NONBLOCK // which spares four calls that try to poll it
	f, err := folder.OpenFile(w.temporary, flags, 0o644)
	if !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	// A daemon that was killed has left it.
	if err := folder.Remove(w.temporary); err != nil {
		return nil, err
	}
	return folder.OpenFile(w.temporary, flags, 0o644)
}

func fill(f *os.File, content []byte, before *os.File) error {
	if _, err := f.Write(content); err != nil {
		return err
	}
	if before == nil {
		return nil
	}
	if err := treecopy.Attributes(f, before); err != nil {
		return err
	}
	// Not all file systems write a file before it takes the place of another, as all do for one that is cut and written anew: the power would end
	// with neither. Nothing waits for it, and what cannot do it is no worse off than it was.
	_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	return nil
}

// mkdirBeneath makes the missing folders of a path, owned by the instance's root user. Each is made in the one before it: by its whole path, from the
// top, a deep one would be walked once for each.
func mkdirBeneath(ctx context.Context, root *os.Root, dir string, ids []spec.IDMapEntry) error {
	if dir == "." {
		return nil
	}
	names := strings.Split(dir, "/")
	// There may be links in what is there, and none in what is not.
	there := sort.Search(len(names), func(n int) bool {
		_, err := root.Stat(path.Join(names[:n+1]...))
		return err != nil
	})
	if there == len(names) {
		return nil
	}
	folder, err := root.OpenRoot(path.Join(append([]string{"."}, names[:there]...)...))
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	for _, name := range names[there:] {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := folder.Mkdir(name, 0o755); err == nil {
			err = giveRoot(folder, name, ids)
			if err != nil {
				return err
			}
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
		next, err := folder.OpenRoot(name)
		if err != nil {
			return err
		}
		_ = folder.Close()
		folder = next
	}
	return nil
}

// giveRoot gives a new file to the instance's root user, where the files on disk are shifted.
func giveRoot(root *os.Root, name string, ids []spec.IDMapEntry) error {
	if len(ids) == 0 {
		return nil
	}
	return root.Lchown(name, int(idmap.Outside(ids, 0, true)), int(idmap.Outside(ids, 0, false)))
}
