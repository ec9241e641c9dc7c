package omitted

import (
	"errors"

	"golang.org/x/sys/unix"
)

// free is the space, in bytes, with which a file system is not full: no attribute takes more than 64 KiB (XATTR_SIZE_MAX).
const free = 1 << 20

// XattrUnsupported tells whether setting an extended attribute failed because its file system cannot hold it, there or anywhere: it has none of this
// kind or this size. ext4 calls a value that is larger than its block ENOSPC, as it calls a full disk; fd, any file on it, tells these apart.
func XattrUnsupported(fd int, err error) bool {
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.E2BIG), errors.Is(err, unix.ERANGE):
		return true
	case errors.Is(err, unix.ENOSPC):
		var st unix.Statfs_t
		if unix.Fstatfs(fd, &st) != nil {
			return false
		}
		unit := st.Frsize
		if unit == 0 {
			unit = st.Bsize
		}
		return int64(st.Bavail)*unit >= free
	}
	return false
}
