package lxc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/device"
)

// A guest can have any number of each. What lies beyond is not seen, and that is an error.
var (
	networksTime   = 5 * time.Second
	maxNetworks    = 1024
	maxTasks       = 32 << 10
	maxDescriptors = 256 << 10
)

// NetworkNamespaces implements instance.Runtime. The kernel lists the namespaces of a container nowhere (before listns(2), Linux 6.19), so they are
// looked for wherever one can be held: by a thread, a mount, a descriptor, a socket. Meanwhile the container stands still, so that none is handed on
// from where has not been looked yet to where has been.
func (d *Driver) NetworkNamespaces(ctx context.Context, id string, look func(ns *os.File) error) (err error) {
	i, err := d.initOf(id)
	if err != nil {
		return err
	}
	defer i.release()
	s, err := newScan(i, look)
	if err != nil {
		return err
	}
	own, err := i.namespace("net")
	if err != nil {
		return err
	}
	if err := s.show(own); err != nil {
		return err
	}
	resume, err := d.holdStill(ctx, id)
	if err != nil {
		s.miss("its processes do not stand still: %v", err)
	} else {
		defer func() { err = errors.Join(err, resume()) }()
	}
	bounded, cancel := context.WithTimeout(ctx, networksTime)
	defer cancel()
	pids, err := d.payload(id).Procs()
	if err != nil {
		return err
	}
	if err := s.processes(bounded, d.payloadPrefix()+id, pids); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.end()
}

// namespaceScan is a look for network namespaces, or for mount namespaces alone.
type namespaceScan struct {
	look  func(ns *os.File) error // nil: network namespaces are not looked for
	enter func(ns *os.File) error // takes over a mount namespace of the instance; nil: those are only looked through
	host  uint64                  // the network namespace that this daemon is in
	mount uint64                  // and its mount namespace
	users uint64                  // the instance's user namespace
	all   bool                    // that one is this daemon's own

	seen    map[uint64]bool // network namespaces that were come across
	entered map[uint64]bool // mount namespaces whose mounts were looked through
	shown   int
	tasks   int
	fds     int
	mounts  map[int]bool    // mounts of the mount namespaces
	paths   map[int]bool    // mounts that descriptors of paths are on
	covered map[uint64]bool // network namespaces at places that cannot be got at
	missed  error           // why there may be more
	beyond  error           // where that is a bound of ours
}

func newScan(i *initProcess, look func(ns *os.File) error) (*namespaceScan, error) {
	s := &namespaceScan{look: look, seen: map[uint64]bool{}, entered: map[uint64]bool{}, mounts: map[int]bool{}, paths: map[int]bool{}, covered: map[uint64]bool{}}
	users, err := i.namespace("user")
	if err != nil {
		return nil, err
	}
	defer func() { _ = users.Close() }()
	var own uint64
	for path, n := range map[string]*uint64{"/proc/self/ns/net": &s.host, "/proc/thread-self/ns/mnt": &s.mount, "/proc/self/ns/user": &own} {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return nil, &os.PathError{Op: "stat", Path: path, Err: err}
		}
		*n = st.Ino
	}
	s.users, err = inode(int(users.Fd()))
	s.all = s.users == own
	return s, err
}

func inode(fd int) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st.Ino, err
}

// miss notes, for the first time, why there may be namespaces that are not seen.
func (s *namespaceScan) miss(format string, args ...any) {
	if s.missed == nil {
		s.missed = fmt.Errorf(format, args...)
	}
}

// stop is miss where a bound is reached.
func (s *namespaceScan) stop(format string, args ...any) {
	s.miss(format, args...)
	if s.beyond == nil {
		s.beyond = fmt.Errorf(format, args...)
	}
}

// end tells whether all was seen.
func (s *namespaceScan) end() error {
	for n := range s.covered {
		if s.look != nil && !s.seen[n] {
			s.miss("the instance has mounted something over one")
		}
	}
	for mount := range s.paths {
		if !s.mounts[mount] {
			s.miss("a descriptor holds mounts that are in no mount namespace")
		}
	}
	if s.missed != nil {
		return &device.Unseen{Err: s.missed}
	}
	return nil
}

// show shows a network namespace, once, if it is the instance's, and closes it.
func (s *namespaceScan) show(ns *os.File) error {
	defer func() { _ = ns.Close() }()
	n, err := inode(int(ns.Fd()))
	if err != nil {
		return err
	}
	if s.look == nil || s.seen[n] {
		return nil
	}
	s.seen[n] = true
	if mine, err := s.owns(int(ns.Fd())); err != nil || !mine || n == s.host {
		return err
	}
	if s.shown++; s.shown > maxNetworks {
		s.miss("it has more than %d network namespaces", maxNetworks)
		return errEnough
	}
	return s.look(ns)
}

// errEnough ends a scan that has met a bound.
var errEnough = errors.New("bound met")

// nesting bounds the way up from a user namespace: the kernel nests 32.
const nesting = 33

// owns tells whether a namespace belongs to the instance's user namespace or to one beneath it. Whoever it was come across at may be on its
// way in from the host, or have been given it by another instance.
func (s *namespaceScan) owns(ns int) (bool, error) {
	if s.all {
		return true, nil // there is none above, and so nothing to tell them apart by
	}
	at, err := unix.IoctlRetInt(ns, unix.NS_GET_USERNS)
	for range nesting {
		if errors.Is(err, unix.EPERM) {
			return false, nil // it was the topmost
		}
		if err != nil {
			return false, fmt.Errorf("owner of a namespace: %w", err)
		}
		n, err2 := inode(at)
		if err2 != nil || n == s.users {
			_ = unix.Close(at)
			return err2 == nil, err2
		}
		var above int
		above, err = unix.IoctlRetInt(at, unix.NS_GET_PARENT)
		_ = unix.Close(at)
		at = above
	}
	if err == nil {
		_ = unix.Close(at)
	}
	return false, nil
}
