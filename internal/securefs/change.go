package securefs

import (
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// Mkdir makes a directory, with exactly these permissions. What exists is fs.ErrExist.
func (r *Root) Mkdir(name string, owner Owner, perm fs.FileMode) error {
	dir, base, err := r.parent(name)
	if err != nil {
		return wrap("mkdir", name, err)
	}
	defer unix.Close(dir)
	if err := unix.Mkdirat(dir, base, 0o700); err != nil {
		return wrap("mkdir", name, err)
	}
	// A guest may have put something else there by now. If so it is a directory of the guest's too, or this fails.
	fd, err := retry(func() (int, error) {
		return unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return wrap("mkdir", name, err)
	}
	defer unix.Close(fd)
	info, err := fdInfo(fd)
	if err == nil && !mine(info) {
		err = unix.EEXIST
	}
	if err != nil {
		return wrap("mkdir", name, err)
	}
	return wrap("mkdir", name, own(fd, owner, perm))
}

// MkdirAll makes a directory and whatever is missing above it. What exists already stays as it is.
func (r *Root) MkdirAll(name string, owner Owner, perm fs.FileMode) error {
	info, err := r.Stat(name)
	if err == nil {
		if !info.Mode.IsDir() {
			return wrap("mkdir", name, unix.ENOTDIR)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	trimmed := strings.TrimRight(name, "/")
	if i := strings.LastIndexByte(trimmed, '/'); i > 0 {
		if err := r.MkdirAll(trimmed[:i], owner, perm); err != nil {
			return err
		}
	}
	err = r.Mkdir(name, owner, perm)
	if errors.Is(err, fs.ErrExist) {
		if info, again := r.Stat(name); again == nil && info.Mode.IsDir() {
			return nil
		}
	}
	return err
}

// Symlink makes a link; target is kept as given and never looked at.
func (r *Root) Symlink(target, name string, owner Owner) error {
	if target == "" || strings.ContainsRune(target, 0) {
		return wrap("symlink", name, unix.ENOENT)
	}
	dir, base, err := r.parent(name)
	if err != nil {
		return wrap("symlink", name, err)
	}
	defer unix.Close(dir)
	if err := unix.Symlinkat(target, dir, base); err != nil {
		return wrap("symlink", name, err)
	}
	// Here too a guest may have put something else by now.
	fd, err := retry(func() (int, error) { return unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) })
	if err != nil {
		return wrap("symlink", name, err)
	}
	defer unix.Close(fd)
	info, err := fdInfo(fd)
	if err == nil && !mine(info) {
		err = unix.EEXIST
	}
	if err != nil {
		return wrap("symlink", name, err)
	}
	return wrap("symlink", name, unix.Fchownat(fd, "", owner.UID, owner.GID, unix.AT_EMPTY_PATH))
}

// Remove removes a file, a link or an empty directory.
func (r *Root) Remove(name string) error {
	err := r.unlink(name, 0)
	if errors.Is(err, unix.EISDIR) {
		err = r.unlink(name, unix.AT_REMOVEDIR)
	}
	return err
}

// Unlink removes a file or a link.
func (r *Root) Unlink(name string) error { return r.unlink(name, 0) }

// Rmdir removes an empty directory.
func (r *Root) Rmdir(name string) error { return r.unlink(name, unix.AT_REMOVEDIR) }

func (r *Root) unlink(name string, flags int) error {
	dir, base, err := r.parent(name)
	if err != nil {
		return wrap("remove", name, err)
	}
	defer unix.Close(dir)
	if err := r.allowRemoval(dir, base); err != nil {
		return wrap("remove", name, err)
	}
	return wrap("remove", name, unix.Unlinkat(dir, base, flags))
}

// Rename gives an object another path. What is there already is fs.ErrExist, or with replace its end.
func (r *Root) Rename(from, to string, replace bool) error {
	dir, base, err := r.parent(from)
	if err != nil {
		return wrap("rename", from, err)
	}
	defer unix.Close(dir)
	newDir, newBase, err := r.parent(to)
	if err != nil {
		return wrap("rename", to, err)
	}
	defer unix.Close(newDir)
	if err := r.allowRemoval(dir, base); err != nil {
		return wrap("rename", from, err)
	}
	if err := r.allowRemoval(newDir, newBase); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return wrap("rename", to, err)
	}
	flags := uint(unix.RENAME_NOREPLACE)
	if replace {
		flags = 0
	}
	return wrap("rename", from, unix.Renameat2(dir, base, newDir, newBase, flags))
}

// Link gives a regular file of the guest's one more path.
func (r *Root) Link(from, to string) error {
	fd, err := r.openat(from, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return wrap("link", from, err)
	}
	defer unix.Close(fd)
	info, err := fdInfo(fd)
	if err == nil && !info.Mode.IsRegular() {
		err = ErrNotRegular
	}
	if err == nil {
		err = r.allow(fd, ownerOnly)
	}
	if err != nil {
		return wrap("link", from, err)
	}
	dir, base, err := r.parent(to)
	if err != nil {
		return wrap("link", to, err)
	}
	defer unix.Close(dir)
	return wrap("link", to, unix.Linkat(fd, "", dir, base, unix.AT_EMPTY_PATH))
}

// Statfs tells of the file system that a path leads to.
func (r *Root) Statfs(name string) (unix.Statfs_t, error) {
	var st unix.Statfs_t
	fd, err := r.openat(name, unix.O_PATH, 0)
	if err != nil {
		return st, wrap("statfs", name, err)
	}
	defer unix.Close(fd)
	return st, wrap("statfs", name, unix.Fstatfs(fd, &st))
}
