// Package subvolume makes, clones and removes the folders that btrfs can copy and remove in one step, whatever is in
// them.
//
// A clone shares everything with its source until one of them changes. It ends where another subvolume begins: one that a
// guest made inside (docker does) would be an empty folder in the clone. So Clone refuses a source that holds
// others, and whoever wants its content too copies it file by file. Remove takes the subvolumes within along.
//
// Everything here is an ioctl of the kernel's (linux/btrfs.h); no program is started. Without CAP_SYS_ADMIN over the file
// system, Clone and Remove answer errors.ErrUnsupported: plain copying and removing work on subvolumes as well.
package subvolume

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// FS is btrfs as a place for whole trees. It has no state.
type FS struct{}

// On tells whether path lies on btrfs.
func On(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.BTRFS_SUPER_MAGIC
}

// System is the identity of the file system that the folder at path lies on, as 32 hexadecimal digits, whichever of its subvolumes that is in. It fails
// if that is not btrfs.
func System(path string) (string, error) {
	folder, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer folder.Close()
	var args system
	if err := call(folder, systemInfo, &args); err != nil {
		return "", fmt.Errorf("file system of %s: %w", path, err)
	}
	return hex.EncodeToString(args.id[:]), nil
}

// Make makes an empty subvolume, open to its owner only.
func (FS) Make(path string) error {
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	args := creation{}
	if err := args.setName(filepath.Base(path)); err != nil {
		return err
	}
	if err := call(parent, createSubvolume, &args); err != nil {
		return fmt.Errorf("make subvolume %s: %w", path, err)
	}
	return os.Chmod(path, 0o700)
}

// Clone makes the subvolume dst with the content of the subvolume src, as it is at one instant; frozen makes it one that
// nobody can write to. It answers errors.ErrUnsupported, and leaves nothing, if src is no subvolume, is not of this
// file system, or holds other subvolumes.
func (FS) Clone(dst, src string, frozen bool) error {
	source, err := openTop(src)
	if err != nil {
		return err
	}
	defer source.Close()
	parent, err := os.Open(filepath.Dir(dst))
	if err != nil {
		return err
	}
	defer parent.Close()
	args := creation{fd: int64(source.Fd())}
	if err := args.setName(filepath.Base(dst)); err != nil {
		return err
	}
	if frozen {
		args.flags = readOnly
	}
	err = call(parent, createSnapshot, &args)
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EPERM) {
		return fmt.Errorf("clone %s: %w", src, errors.ErrUnsupported)
	}
	if err != nil {
		return fmt.Errorf("clone %s: %w", src, err)
	}
	// Only now: what the guest makes while this looks is not missing from a clone that was made before.
	inside, err := within(source)
	if err == nil && len(inside) > 0 {
		err = fmt.Errorf("clone %s: it holds subvolumes: %w", src, errors.ErrUnsupported)
	}
	if err != nil {
		return errors.Join(err, destroy(parent, filepath.Base(dst)))
	}
	return nil
}

// Freeze makes the subvolume at path one that nobody can write to.
func (FS) Freeze(path string) error {
	top, err := openTop(path)
	if err != nil {
		return err
	}
	defer top.Close()
	var flags uint64
	if err := call(top, getFlags, &flags); err != nil {
		return fmt.Errorf("freeze %s: %w", path, err)
	}
	flags |= readOnly
	if err := call(top, setFlags, &flags); err != nil {
		return fmt.Errorf("freeze %s: %w", path, err)
	}
	return nil
}

// Limit bounds what is in the subvolume at path, shared with others or not, to a number of bytes; 0 is no bound. It answers
// errors.ErrUnsupported for a plain folder, and where nobody has enabled quotas on the file system: they cost every write, so that is
// for whoever keeps the file system to decide. Subvolumes within are not counted.
func (FS) Limit(path string, bytes int64) error {
	top, err := openTop(path)
	if err != nil {
		return err
	}
	defer top.Close()
	args := quota{flags: limitReferenced, referenced: uint64(bytes)}
	if bytes <= 0 {
		args.referenced = noLimit
	}
	err = call(top, limitQuota, &args)
	// Kernels without quotas enabled have said each of these.
	if errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("limit %s: %w (%w)", path, errors.ErrUnsupported, err)
	}
	if err != nil {
		return fmt.Errorf("limit %s: %w", path, err)
	}
	return nil
}

// Remove removes a subvolume with all subvolumes in it. That there is nothing at path is no error; for a plain folder it answers
// errors.ErrUnsupported.
func (FS) Remove(ctx context.Context, path string) error {
	top, err := openTop(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer top.Close()
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	for {
		err := destroy(parent, filepath.Base(path))
		if !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
		if err := empty(ctx, parent, top); err != nil {
			return err
		}
	}
}

// Refreeze makes the subvolume of which the top is open one that nobody can write to, after a Thaw.
func Refreeze(top int) error {
	flags := uint64(readOnly)
	if err := call(descriptor(top), setFlags, &flags); err != nil {
		return fmt.Errorf("freeze subvolume: %w", err)
	}
	return nil
}

// Thaw makes the subvolume that an open folder is in writable. It tells whether that was not so before.
func Thaw(fd int) bool {
	top, err := topOf(fd)
	if err != nil {
		return false
	}
	defer unix.Close(top)
	var flags uint64
	f := descriptor(top)
	if call(f, getFlags, &flags) != nil || flags&readOnly == 0 {
		return false
	}
	flags &^= readOnly
	return call(f, setFlags, &flags) == nil
}

// topOf opens the top of the subvolume that an open folder is in.
func topOf(fd int) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	at, err := unix.Openat(fd, ".", flags, 0)
	for err == nil {
		var st unix.Stat_t
		if err = unix.Fstat(at, &st); err == nil && st.Ino == TopInode {
			return at, nil
		}
		up := -1
		if err == nil {
			if up, err = unix.Openat(at, "..", flags, 0); err == nil && sameFile(up, &st) {
				_ = unix.Close(up)
				err = unix.ENOENT // the top of all
			}
		}
		_ = unix.Close(at)
		at = up
	}
	return -1, err
}

func sameFile(fd int, as *unix.Stat_t) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Dev == as.Dev && st.Ino == as.Ino
}

// openTop opens a subvolume; a plain folder is errors.ErrUnsupported.
func openTop(path string) (*os.File, error) {
	f, err := os.OpenFile(path, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if st.Ino != TopInode || !On(path) {
		_ = f.Close()
		return nil, fmt.Errorf("%s is no subvolume: %w", path, errors.ErrUnsupported)
	}
	return f, nil
}

// empty removes the subvolumes within one. They are named by number, not by path, so it matters nothing what a guest
// has made of the way to them.
func empty(ctx context.Context, parent, top *os.File) error {
	all, err := within(top)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("remove subvolume: %w", errors.ErrUnsupported) // not empty for another reason
	}
	for i := 0; err == nil && i < len(all); i++ {
		var more []uint64
		more, err = children(top, all[i])
		all = append(all, more...)
	}
	if err != nil {
		return err
	}
	for _, id := range slices.Backward(all) { // those inside others come behind them
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := destroyNumber(parent, id); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// destroy removes the subvolume of a name, which holds no other.
func destroy(parent *os.File, name string) error {
	args := removal{}
	if err := args.setName(name); err != nil {
		return err
	}
	return removed(call(parent, destroySubvolume, &args))
}

func destroyNumber(on *os.File, id uint64) error {
	args := creation{flags: byNumber}
	args.setNumber(id)
	return removed(call(on, destroySubvolumeV2, &args))
}

// removed turns what a file by file removal may get around into errors.ErrUnsupported.
func removed(err error) error {
	switch {
	case err == nil, errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.ENOENT):
		return err
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("remove subvolume: %w: %w", errors.ErrUnsupported, err)
	}
	return fmt.Errorf("remove subvolume: %w", err)
}

// within lists the numbers of the subvolumes directly within an open one.
func within(top *os.File) ([]uint64, error) {
	args := lookup{object: TopInode}
	if err := call(top, lookUpInode, &args); err != nil {
		return nil, fmt.Errorf("number of subvolume: %w", err)
	}
	return children(top, args.tree)
}
