package securefs

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// Rights that everybody has, as bits of a mode. ownerOnly stands for what only an owner may do.
const (
	mayRead   fs.FileMode = 0o004
	mayWrite  fs.FileMode = 0o002
	maySearch fs.FileMode = 0o001
	ownerOnly fs.FileMode = 0
)

// Limit says whose objects are the guest's own, by their IDs on the host. With others nothing more is done than everybody may do, as the
// kernel has it for root of a user namespace. A guest may see files of the host's, on a disk that is not shifted, and lead a
// path there while it is used: without the limit what it cannot write itself the host would write for it.
func (r *Root) Limit(owned func(uid, gid int) bool) { r.owned = owned }

// allow fails for an object that is not the guest's own, unless everybody has these rights.
func (r *Root) allow(fd int, rights fs.FileMode) error {
	if r.owned == nil {
		return nil
	}
	info, err := fdInfo(fd)
	if err != nil {
		return err
	}
	switch {
	case r.owned(info.UID, info.GID):
		return nil
	case rights == ownerOnly:
		return unix.EPERM
	case info.Mode.Perm()&rights != rights:
		return unix.EACCES
	}
	return nil
}

// allowRemoval is for what is taken out of a directory in which everybody may write: with the sticky bit only what is one's own.
func (r *Root) allowRemoval(dir int, base string) error {
	if r.owned == nil {
		return nil
	}
	info, err := fdInfo(dir)
	if err != nil || info.Mode&fs.ModeSticky == 0 || r.owned(info.UID, info.GID) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if !r.owned(int(st.Uid), int(st.Gid)) {
		return unix.EPERM
	}
	return nil
}
