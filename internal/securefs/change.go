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
	dir, base, err := r.parent(name)
	if err != nil {
		return wrap("remove", name, err)
	}
	defer unix.Close(dir)
	err = unix.Unlinkat(dir, base, 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
	}
	return wrap("remove", name, err)
}

// Chown changes the owner of what a path leads to.
func (r *Root) Chown(name string, owner Owner) error {
	fd, err := r.openat(name, unix.O_PATH, 0)
	if err != nil {
		return wrap("chown", name, err)
	}
	defer unix.Close(fd)
	return wrap("chown", name, unix.Fchownat(fd, "", owner.UID, owner.GID, unix.AT_EMPTY_PATH))
}

// Chmod changes the permissions of a regular file or directory, links followed.
func (r *Root) Chmod(name string, perm fs.FileMode) error {
	fd, err := r.openat(name, unix.O_PATH, 0)
	if err != nil {
		return wrap("chmod", name, err)
	}
	defer unix.Close(fd)
	info, err := fdInfo(fd)
	if err != nil {
		return wrap("chmod", name, err)
	}
	if info.Mode.IsDir() {
		open, err := r.openat(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return wrap("chmod", name, err)
		}
		defer unix.Close(open)
		return wrap("chmod", name, unix.Fchmod(open, Permissions(perm)))
	}
	f, err := reopen(fd, unix.O_RDONLY, name)
	if err != nil {
		return wrap("chmod", name, err)
	}
	defer f.Close()
	return wrap("chmod", name, unix.Fchmod(int(f.Fd()), Permissions(perm)))
}
