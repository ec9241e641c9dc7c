package treecopy

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sysListxattrat is listxattrat(2), since Linux 6.13; it has the same number on all architectures but alpha.
const sysListxattrat = 465

// noListxattrat is set once the kernel turned out not to know the call.
var noListxattrat atomic.Bool

// listxattrAt lists the attributes of what cannot be opened, beneath an open folder. Older kernels only take a path,
// and the way through /proc costs as much as all else that is done to read a symbolic link.
func listxattrAt(dir int, name string, buf []byte) (int, error) {
	if !noListxattrat.Load() {
		n, err := listxattrat(dir, name, buf)
		if err != unix.ENOSYS && err != unix.EPERM { // seccomp filters that do not know it answer EPERM
			return n, err
		}
		noListxattrat.Store(true)
	}
	return unix.Llistxattr(below(dir, name), buf)
}

func listxattrat(dir int, name string, buf []byte) (int, error) {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return 0, err
	}
	n, _, errno := unix.Syscall6(sysListxattrat, uintptr(dir), uintptr(unsafe.Pointer(path)), unix.AT_SYMLINK_NOFOLLOW,
		uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
