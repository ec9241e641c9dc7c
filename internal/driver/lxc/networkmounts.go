package lxc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// mountNamespace shows the network namespaces that are mounted in a mount namespace, and those in the mount namespaces that are, and closes it.
func (s *namespaceScan) mountNamespace(ctx context.Context, ns *os.File) error {
	n, err := inode(int(ns.Fd()))
	if err != nil || s.entered[n] || n == s.mount { // the host's: a process that is on its way in
		return errors.Join(err, ns.Close())
	}
	s.entered[n] = true
	found, err := mounted(ctx, ns)
	if taken := s.give(ns); err == nil {
		err = taken
	}
	if errors.Is(err, errEnough) {
		return errors.Join(err, found.close())
	}
	if err != nil {
		s.miss("the mounts of a process: %v", err)
		return found.close()
	}
	for _, f := range found.open {
		switch {
		case err != nil:
			_ = f.Close()
		case strings.HasPrefix(f.Name(), "mnt:"):
			err = s.mountNamespace(ctx, f)
		default:
			err = s.show(f)
		}
	}
	for n := range found.covered {
		s.covered[n] = true
	}
	for id := range found.ids {
		s.mounts[id] = true
	}
	if found.other {
		s.miss("the instance has mounted something over a mount namespace")
	}
	return err
}

// give hands on a mount namespace that is the instance's, if it is looked for, and else closes it.
func (s *namespaceScan) give(ns *os.File) error {
	if s.enter == nil {
		return ns.Close()
	}
	if mine, err := s.owns(int(ns.Fd())); err != nil || !mine {
		return errors.Join(err, ns.Close())
	}
	return s.enter(ns)
}

// namespaceMounts are those of a mount namespace.
type namespaceMounts struct {
	ids     map[int]bool    // of all its mounts
	open    []*os.File      // namespaces, by names such as "net:[4026531840]"
	covered map[uint64]bool // network namespaces that cannot be got at
	other   bool            // there are mount namespaces that cannot be
}

func (found namespaceMounts) close() error {
	var errs []error
	for _, f := range found.open {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// mounted looks at the mounts of a mount namespace, from within: where they are is the guest's to say.
func mounted(ctx context.Context, ns *os.File) (result namespaceMounts, err error) {
	err = inside(ctx, &initProcess{fd: int(ns.Fd())}, func(wanted func() bool) error {
		all, err := mountTable()
		if err != nil {
			return err
		}
		found := namespaceMounts{ids: map[int]bool{}, covered: map[uint64]bool{}}
		for _, m := range all {
			found.ids[m.ID] = true
			if m.FSType == "nsfs" {
				found.add(m)
			}
		}
		if !wanted() {
			return errors.Join(errLate, found.close())
		}
		result = found
		return nil
	})
	return result, err
}

// mountTable lists the mounts of the mount namespace that this thread is in, as it sees it, whose root is the namespace's: that of the instance's init
// may hide mounts.
func mountTable() ([]*mountinfo.Info, error) {
	if errSelf != nil {
		return nil, errSelf
	}
	f, err := openAt(self, fmt.Sprintf("task/%d/mountinfo", unix.Gettid()), unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return mountinfo.GetMountsFromReader(&shortFields{from: f, place: maxPlace, other: maxOther}, nil)
}

// add opens what a mount of nsfs shows, if that is a namespace that holds interfaces or mounts.
func (found *namespaceMounts) add(m *mountinfo.Info) {
	kind, number, _ := strings.Cut(strings.TrimPrefix(m.Root, "/"), ":")
	n, err := strconv.ParseUint(strings.Trim(number, "[]"), 10, 64)
	if kind != "net" && kind != "mnt" || err != nil {
		return
	}
	if ns := openMounted(m); ns != nil {
		found.open = append(found.open, ns)
		return
	}
	if kind == "net" {
		found.covered[n] = true
	} else {
		found.other = true
	}
}

// openMounted opens a namespace by the place where it is mounted; nil where that shows something else.
func openMounted(m *mountinfo.Info) *os.File {
	at, err := openPlace(strings.TrimPrefix(m.Mountpoint, "/"))
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(at) }()
	if id, _, err := mountOf(at); err != nil || id != m.ID {
		return nil
	}
	ns, err := reopen(at, strings.TrimPrefix(m.Root, "/"))
	if err != nil {
		return nil
	}
	return ns
}
