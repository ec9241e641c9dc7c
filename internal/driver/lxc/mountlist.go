package lxc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mountNamespaceInfo is struct mnt_ns_info of linux/nsfs.h.
type mountNamespaceInfo struct {
	size   uint32
	mounts uint32
	id     uint64
}

// Requests of linux/nsfs.h, Linux 6.12.
const (
	nextMountNamespaceRequest     = 0x8010b70b // NS_MNT_GET_NEXT
	previousMountNamespaceRequest = 0x8010b70c // NS_MNT_GET_PREV
)

// mountNamespaceIoctl returns what a request is answered with, and a descriptor if that is one; ENOTTY where the kernel has none.
func mountNamespaceIoctl(ns *os.File, request uintptr) (fd int, info mountNamespaceInfo, err error) {
	info.size = uint32(unsafe.Sizeof(info))
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, ns.Fd(), request, uintptr(unsafe.Pointer(&info)))
	if errno != 0 {
		return -1, info, errno
	}
	return int(r), info, nil
}

// untold tells whether the kernel does not list mount namespaces, or not to this daemon: since Linux 6.18 only who is in the first namespaces of the
// machine is told of all.
func untold(err error) bool {
	return errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM)
}

// list finds the mount namespaces of an instance, but for its first, by the kernel's own list of all. complete is false where there is none, and for a
// privileged instance, whose namespaces nothing in it tells from the host's.
func (n *nestedScan) list(ctx context.Context) (complete bool, err error) {
	if n.all {
		return false, nil
	}
	for _, request := range []uintptr{nextMountNamespaceRequest, previousMountNamespaceRequest} { // their order is not that in which they were made
		if complete, err = n.walk(ctx, request); err != nil || !complete {
			return false, errors.Join(err, n.close())
		}
	}
	return true, nil
}

// walk goes from the first mount namespace of an instance to one end of the list.
func (n *nestedScan) walk(ctx context.Context, request uintptr) (complete bool, err error) {
	at, err := n.init.open("ns/mnt", unix.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer func() { _ = at.Close() }()
	for {
		fd, _, err := mountNamespaceIoctl(at, request)
		switch {
		case errors.Is(err, unix.ENOENT): // it was the last
			return true, nil
		case untold(err):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("list of mount namespaces: %w", err)
		}
		unix.CloseOnExec(fd)
		_ = at.Close()
		at = os.NewFile(uintptr(fd), "mnt")
		if ctx.Err() != nil {
			return false, errors.New("the time is up")
		}
		if err := n.keep(fd); err != nil {
			return false, err
		}
	}
}

// keep takes a mount namespace of the list, if it is the instance's.
func (n *nestedScan) keep(fd int) error {
	mine, err := n.owns(fd)
	if err != nil || !mine {
		return err
	}
	own, err := duplicate(fd)
	if err != nil {
		return err
	}
	if err := n.take(os.NewFile(uintptr(own), "mnt")); err != nil {
		return n.missed
	}
	return nil
}
