package treecopy

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// utimensat sets the times of an open file; package unix has only the forms that take a path.
func utimensat(fd int, times *[2]unix.Timespec) error {
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(times)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
