// Package hide makes network namespaces and keeps them as a guest may that wants them not to be found. It is for programs of tests, which run inside.
package hide

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Places are the ways to keep a namespace, by name. True: nobody can look there, but that something may be there can be told.
var Places = map[string]bool{
	"thread": false, "descriptor": false, "table of a thread": false, "socket": false, "mount": false, "mount namespace": false,
	"descriptor of a mount namespace": false, "covered mount": true, "descriptor on its way": true, "io_uring": true, "detached mounts": true,
}

// keepers keep the namespace of a descriptor, on a thread that is in it. They return with the thread in it or out of it, and with the descriptor theirs.
var keepers = map[string]func(ns, own int) error{
	"thread":                          func(ns, _ int) error { return unix.Close(ns) },
	"descriptor":                      func(_, own int) error { return unix.Setns(own, unix.CLONE_NEWNET) },
	"table of a thread":               inTable,
	"socket":                          inSocket,
	"mount":                           func(ns, own int) error { _, err := mounted(ns, own); return err },
	"covered mount":                   covered,
	"mount namespace":                 inMountNamespace,
	"descriptor of a mount namespace": inMountDescriptor,
	"descriptor on its way":           onItsWay,
	"io_uring":                        inRing,
	"detached mounts":                 inTree,
}

// Namespace makes a network namespace, moves an interface of the present one there and brings it up (empty: none), and leaves it in one of Places,
// for as long as the program runs. It returns the namespace's number.
func Namespace(place, carry string) (uint64, error) {
	type result struct {
		number uint64
		err    error
	}
	made := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		n, err := hide(keepers[place], carry)
		made <- result{n, err}
		select {} // with the thread, which is the place, or has become of no use
	}()
	r := <-made
	return r.number, r.err
}

func hide(keep func(ns, own int) error, carry string) (uint64, error) {
	own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return 0, fmt.Errorf("unshare: %w", err)
	}
	ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := errors.Join(unix.Fstat(ns, &st), move(carry, ns, own)); err != nil {
		return 0, err
	}
	return st.Ino, keep(ns, own)
}

// Stay keeps the program, and all that is hidden, until a signal ends it. Without a thread that the kernel keeps waiting, a Go program ends itself.
func Stay() {
	for {
		_, _, _ = unix.Syscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}

// Pass moves an interface, which must be in the present network namespace, back and forth between namespaces for as long as the program runs, so that
// whoever looks through them one after the other may miss it. It returns once the interface has made a round.
func Pass(name string) error {
	const rooms = 8
	passed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		var all []int
		for n := range rooms {
			if n > 0 {
				if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
					passed <- err
					return
				}
			}
			ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				passed <- err
				return
			}
			all = append(all, ns)
		}
		for n := 0; ; n++ {
			if n == rooms {
				passed <- nil
			}
			err := move(name, all[(n+1)%rooms], all[n%rooms])
			if err != nil && n < rooms {
				passed <- err
			}
			if err != nil {
				select {} // it is gone
			}
		}
	}()
	return <-passed
}

// leave has the thread go back, and gives the descriptor up.
func leave(ns, own int) error {
	return errors.Join(unix.Setns(own, unix.CLONE_NEWNET), unix.Close(ns))
}

func inTable(ns, own int) error {
	if err := unix.Setns(own, unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return err
	}
	kept := make(chan error)
	go func() { kept <- unix.Close(ns) }() // in the others' table
	return <-kept
}

func inSocket(ns, own int) error {
	if _, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	return leave(ns, own)
}

func mounted(ns, own int) (string, error) {
	f, err := os.CreateTemp("", "hidden-")
	if err != nil {
		return "", err
	}
	if err := unix.Mount("/proc/thread-self/ns/net", f.Name(), "", unix.MS_BIND, ""); err != nil {
		return "", fmt.Errorf("mount: %w", err)
	}
	return f.Name(), errors.Join(f.Close(), leave(ns, own))
}

func covered(ns, own int) error {
	at, err := mounted(ns, own)
	if err != nil {
		return err
	}
	return unix.Mount("/dev/null", at, "", unix.MS_BIND, "")
}

func inMountNamespace(ns, own int) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil { // and of CLONE_FS
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	_, err := mounted(ns, own)
	return err
}

func inMountDescriptor(ns, own int) error {
	before, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := inMountNamespace(ns, own); err != nil {
		return err
	}
	if _, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	return errors.Join(unix.Setns(before, unix.CLONE_NEWNS), unix.Close(before))
}

func onItsWay(ns, own int) error {
	if err := unix.Setns(own, unix.CLONE_NEWNET); err != nil { // a pair that is made in it would show it
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(ns), nil, 0), unix.Close(ns))
}

func inRing(ns, own int) error {
	if err := unix.Setns(own, unix.CLONE_NEWNET); err != nil {
		return err
	}
	var params [120]byte // struct io_uring_params
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		return fmt.Errorf("io_uring_setup: %w", errno)
	}
	const registerFiles = 2 // IORING_REGISTER_FILES
	file := int32(ns)
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, ring, registerFiles, uintptr(unsafe.Pointer(&file)), 1, 0, 0); errno != 0 {
		return fmt.Errorf("io_uring_register: %w", errno)
	}
	return unix.Close(ns)
}

func inTree(ns, own int) error {
	dir, err := os.MkdirTemp("", "hidden-")
	if err != nil {
		return err
	}
	at := filepath.Join(dir, "x")
	if err := unix.Mount("hidden", dir, "tmpfs", 0, ""); err != nil {
		return err
	}
	// Or what is unmounted here is unmounted there.
	if err := errors.Join(unix.Mount("", dir, "", unix.MS_PRIVATE, ""), os.WriteFile(at, nil, 0o600)); err != nil {
		return err
	}
	if err := unix.Mount("/proc/thread-self/ns/net", at, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if _, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE); err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	return errors.Join(unix.Unmount(at, unix.MNT_DETACH), unix.Unmount(dir, unix.MNT_DETACH), leave(ns, own))
}
