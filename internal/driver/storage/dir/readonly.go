package dir

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// writable has the mount at root follow its file system. A mount is made with the flags of the source's, and keeps them: a disk that was read-only
// when it was bound, or remounted by its device, would stay so in the pool when it is writable again. It fails if it is not the file system
// but the source's mount that is read-only: who mounted it so wants no changes, and nothing says when that is over.
func (d *Dir) writable() error {
	if ro, err := readOnly(d.root); err != nil || !ro {
		return err
	}
	if err := setReadOnly(d.root, false); err != nil {
		return err
	}
	root, err := readOnly(d.root)
	if err != nil || root {
		return err
	}
	if source, err := readOnly(d.source); err != nil || !source {
		return err
	}
	if err := setReadOnly(d.root, true); err != nil {
		return err
	}
	return fmt.Errorf("%s is mounted read-only: %w", d.source, unix.EROFS)
}

// readOnly tells whether a file system, or only its mount, takes no changes at path.
func readOnly(path string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return false, fmt.Errorf("mount of %s: %w", path, err)
	}
	return st.Flags&unix.ST_RDONLY != 0, nil
}

func setReadOnly(path string, on bool) error {
	attr := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	if on {
		attr = unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, path, 0, &attr); err != nil {
		return fmt.Errorf("remount %s: %w", path, err)
	}
	return nil
}
