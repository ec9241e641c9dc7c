package archive

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/diskspace"
)

// put makes a file of a kind (S_IFREG …) by call. Where an earlier member has its name, the later one takes its place, as tar has it; but only one of the
// same kind: what was a folder, and may have been walked through, stays one, and what was none never becomes one.
func (t *tree) put(fd int, base string, kind uint32, call func() error) error {
	err := call()
	if errors.Is(err, unix.EEXIST) {
		if err = t.clear(fd, base, kind); err == nil {
			err = call()
		}
	}
	if errors.Is(err, unix.ENAMETOOLONG) {
		return refused("%w", err)
	}
	return err
}

// clear removes an earlier member of the same kind.
func (t *tree) clear(fd int, base string, kind uint32) error {
	var st unix.Stat_t
	if err := unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != kind {
		return refused("name comes twice, as %s and as %s", kindName(st.Mode), kindName(kind))
	}
	if err := unix.Unlinkat(fd, base, 0); err != nil {
		return err
	}
	if st.Nlink == 1 {
		t.room.Give(min(st.Blocks*512, diskspace.Blocks(st.Size)))
	}
	return nil
}

func kindName(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "a file"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFIFO:
		return "a fifo"
	case unix.S_IFBLK:
		return "a block device"
	default:
		return "a character device"
	}
}
