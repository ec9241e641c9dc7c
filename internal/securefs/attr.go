package securefs

import (
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Attr is what is to change of a regular file or directory; nil stays as it is.
type Attr struct {
	Size  *int64 // of a file
	Owner *Owner
	Mode  *fs.FileMode // permissions, with the set-ID and sticky bits
	Times *Times
}

// Times are when an object was last read and written.
type Times struct{ Access, Modify time.Time }

// SetAttr changes attributes of what a path leads to. But for the size only those of the guest's own objects may be changed.
func (r *Root) SetAttr(name string, a Attr) error {
	fd, err := r.openat(name, unix.O_PATH, 0)
	if err != nil {
		return wrap("setattr", name, err)
	}
	defer unix.Close(fd)
	return wrap("setattr", name, r.setAttr(fd, a, name))
}

// SetFileAttr is SetAttr for a file that was opened beneath the root, wherever it is by now.
func (r *Root) SetFileAttr(f *os.File, a Attr) error {
	return wrap("setattr", f.Name(), r.setAttr(int(f.Fd()), a, f.Name()))
}

func (r *Root) setAttr(fd int, a Attr, name string) error {
	info, err := fdInfo(fd)
	if err != nil {
		return err
	}
	if !info.Mode.IsRegular() && !info.Mode.IsDir() {
		return ErrNotRegular
	}
	if err := refuseKernel(fd, true); err != nil {
		return err
	}
	if a.Size != nil {
		if err := r.truncate(fd, *a.Size, name); err != nil {
			return err
		}
	}
	if a.Owner == nil && a.Mode == nil && a.Times == nil {
		return nil
	}
	if err := r.allow(fd, ownerOnly); err != nil {
		return err
	}
	if a.Owner != nil {
		if err := unix.Fchownat(fd, "", a.Owner.UID, a.Owner.GID, unix.AT_EMPTY_PATH); err != nil {
			return err
		}
	}
	// After the owner, whose change clears the set-ID bits.
	if a.Mode != nil {
		if err := unix.Fchmodat(unix.AT_FDCWD, inProc(fd), Permissions(*a.Mode), 0); err != nil {
			return err
		}
	}
	if a.Times == nil {
		return nil
	}
	times := []unix.Timespec{unix.NsecToTimespec(a.Times.Access.UnixNano()), unix.NsecToTimespec(a.Times.Modify.UnixNano())}
	return unix.UtimesNanoAt(unix.AT_FDCWD, inProc(fd), times, 0)
}

func (r *Root) truncate(fd int, size int64, name string) error {
	f, err := r.reopen(fd, unix.O_WRONLY, name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Ftruncate(int(f.Fd()), size)
}

// Chown changes the owner of the regular file or directory that a path leads to.
func (r *Root) Chown(name string, owner Owner) error { return r.SetAttr(name, Attr{Owner: &owner}) }

// Chmod changes the permissions of the regular file or directory that a path leads to.
func (r *Root) Chmod(name string, perm fs.FileMode) error { return r.SetAttr(name, Attr{Mode: &perm}) }
