package securefs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// OpenRead opens a regular file for reading, links followed.
func (r *Root) OpenRead(name string) (*os.File, error) { return r.open(name, unix.O_RDONLY) }

// OpenWrite opens an existing regular file for writing, links followed: at its end with append, emptied otherwise.
func (r *Root) OpenWrite(name string, atEnd bool) (*os.File, error) {
	if atEnd {
		return r.open(name, unix.O_WRONLY|unix.O_APPEND)
	}
	return r.open(name, unix.O_WRONLY|unix.O_TRUNC)
}

func (r *Root) open(name string, flags int) (*os.File, error) {
	fd, err := r.openat(name, unix.O_PATH, 0)
	if err != nil {
		return nil, wrap("open", name, err)
	}
	defer unix.Close(fd)
	f, err := r.reopen(fd, flags, name)
	return f, wrap("open", name, err)
}

// reopen turns a handle that only names a file into one to read or write it, once it is known to be a regular file.
func (r *Root) reopen(fd, flags int, name string) (*os.File, error) {
	info, err := fdInfo(fd)
	if err != nil {
		return nil, err
	}
	if info.Mode.IsDir() {
		return nil, unix.EISDIR
	}
	if !info.Mode.IsRegular() {
		return nil, ErrNotRegular
	}
	if err := refuseKernel(fd, flags&unix.O_ACCMODE != unix.O_RDONLY); err != nil {
		return nil, err
	}
	if err := r.allow(fd, rightsFor(flags)); err != nil {
		return nil, err
	}
	open, err := retry(func() (int, error) { return unix.Open(inProc(fd), flags|unix.O_CLOEXEC|unix.O_NOCTTY, 0) })
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(open), name), nil
}

// inProc is a path that leads to what a descriptor stands for, for calls that take no descriptor of O_PATH.
func inProc(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func rightsFor(flags int) fs.FileMode {
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return mayRead
	case unix.O_WRONLY:
		return mayWrite
	}
	return mayRead | mayWrite
}

// OpenFile opens a regular file, links followed, as flags say: O_RDONLY, O_WRONLY or O_RDWR, with O_TRUNC, O_CREAT and O_EXCL. What it
// makes gets this owner and these permissions; what is there keeps its own.
func (r *Root) OpenFile(name string, flags int, owner Owner, perm fs.FileMode) (*os.File, error) {
	access := flags & (unix.O_ACCMODE | unix.O_TRUNC)
	if flags&unix.O_CREAT == 0 {
		return r.open(name, access)
	}
	if flags&unix.O_EXCL != 0 {
		return r.create(name, access, owner, perm)
	}
	for range followed {
		f, err := r.open(name, access)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		if f, err = r.createThrough(name, access, owner, perm); !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, wrap("open", name, unix.EAGAIN) // made and removed by somebody else all the time
}

// followed is how many links the kernel follows in one path.
const followed = 40

// Create makes a regular file where nothing is; a link that leads nowhere yet is followed. What has come into being
// meanwhile is emptied if it is a regular file of the same owner; another's is fs.ErrExist.
func (r *Root) Create(name string, owner Owner, perm fs.FileMode) (*os.File, error) {
	f, err := r.createThrough(name, unix.O_WRONLY, owner, perm)
	if !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	fd, openErr := r.openat(name, unix.O_PATH, 0)
	if openErr != nil {
		return nil, wrap("create", name, openErr)
	}
	defer unix.Close(fd)
	info, statErr := fdInfo(fd)
	switch {
	case statErr != nil:
		return nil, wrap("create", name, statErr)
	case !info.Mode.IsRegular():
		return nil, wrap("create", name, ErrNotRegular)
	case !mine(info):
		return nil, err
	}
	if f, err = r.reopen(fd, unix.O_WRONLY|unix.O_TRUNC, name); err != nil {
		return nil, wrap("create", name, err)
	}
	if err := own(int(f.Fd()), owner, perm); err != nil {
		_ = f.Close()
		return nil, wrap("create", name, err)
	}
	return f, nil
}

// createThrough is create, but it follows links that lead nowhere yet.
func (r *Root) createThrough(name string, access int, owner Owner, perm fs.FileMode) (*os.File, error) {
	at := name
	for range followed {
		f, err := r.create(at, access, owner, perm)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
		target, linkErr := r.Readlink(at)
		if linkErr != nil { // no link, or none any more
			return nil, err
		}
		if _, statErr := r.Stat(at); statErr == nil {
			return nil, err
		}
		if path.IsAbs(target) {
			at = target
		} else {
			above, _ := path.Split(at)
			at = above + target // the kernel resolves it beneath the root, with its ".."
		}
	}
	return nil, wrap("create", name, unix.ELOOP)
}

// create makes a file where nothing is, not even a link.
func (r *Root) create(name string, access int, owner Owner, perm fs.FileMode) (*os.File, error) {
	dir, base, err := r.parent(name)
	if err != nil {
		return nil, wrap("create", name, err)
	}
	defer unix.Close(dir)
	fd, err := retry(func() (int, error) {
		return unix.Openat(dir, base, access|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOCTTY, 0o600)
	})
	if err != nil {
		return nil, wrap("create", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	err = refuseKernel(fd, true)
	if err == nil {
		err = own(fd, owner, perm)
	}
	if err != nil {
		_ = f.Close()
		return nil, wrap("create", name, err)
	}
	return f, nil
}

// mine tells whether an object may be one that this thread has made. A guest can put another in its place, even one of the host's
// that it sees in a disk, and must not be given that.
func mine(info Info) bool {
	uid, err := unix.SetfsuidRetUid(-1)
	return err == nil && info.UID == uid
}

// own sets the owner before the mode: a change of owner clears the set-ID bits.
func own(fd int, owner Owner, perm fs.FileMode) error {
	if err := unix.Fchown(fd, owner.UID, owner.GID); err != nil {
		return fmt.Errorf("chown: %w", err)
	}
	if err := unix.Fchmod(fd, Permissions(perm)); err != nil {
		return fmt.Errorf("chmod: %w", err)
	}
	return nil
}
