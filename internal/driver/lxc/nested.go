package lxc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/spec"
)

// What a removed disk may take in the mount namespaces that a guest has made, and how many of them are looked at.
var (
	nestedTime = 5 * time.Second
	maxNested  = 1024
)

// departed is a mount that is to go from an instance.
type departed struct {
	mount  spec.Mount
	from   origin   // what it shows; of a source that is gone, what is at its place
	root   origin   // what the instance's root shows, which is nobody's to take
	others []string // places of mounts of the same source that stay
	known  []int    // mounts of the instance's own mount namespace before any went
}

// look fills in what only the instance's own mount namespace tells, while the mount is there.
func (g *departed) look(ctx context.Context, i *initProcess) error {
	target, from := g.mount.Target, g.from
	var root origin
	var known []int
	err := inside(ctx, i, func(wanted func() bool) error {
		all, err := mountTable()
		if err != nil {
			return err
		}
		at := -1
		if from == (origin{}) {
			at = placed(target)
		}
		var ids []int
		var top, place origin
		for _, m := range all {
			ids = append(ids, m.ID)
			if m.Mountpoint == "/" {
				top = originOfMount(m)
			}
			if m.ID == at {
				place = originOfMount(m)
			}
		}
		if !wanted() {
			return errLate
		}
		root, known = top, ids
		if at >= 0 {
			from = place
		}
		return nil
	})
	g.root, g.known, g.from = root, known, from
	return err
}

// placed is the ID of the mount that has its top at a path inside; -1 if there is none.
func placed(target string) int {
	tops, err := reachPlace(target)
	if err != nil || len(tops) == 0 {
		return -1
	}
	defer func() { _ = closeAll(tops...) }()
	id, _, err := mountOf(tops[0])
	if err != nil {
		return -1
	}
	return id
}

// errNested says why a mount may be left where the guest has put it.
func errNested(m spec.Mount, cause error) error {
	return api.BadRequest("%s may still be mounted in a mount namespace that the instance has made, and can be removed once the instance is stopped: %w", "/"+m.Target, cause)
}

// unmountNested takes what a mount shows out of all mount namespaces that the guest has made, after it has gone from the instance's own. A guest that
// has none is told by the kernel where it can (Linux 6.12), and costs no more than that. Else the guest stands still meanwhile, so that it moves the mount to no
// place that has been looked at already.
func (d *Driver) unmountNested(ctx context.Context, id string, i *initProcess, gone departed) (err error) {
	if gone.from == (origin{}) || gone.from == gone.root {
		return nil
	}
	s, err := newScan(i, nil)
	if err != nil {
		return err
	}
	n := nestedScan{namespaceScan: s, init: i, gone: gone}
	defer func() { err = errors.Join(err, n.close()) }()
	ctx, cancel := context.WithTimeout(ctx, nestedTime)
	defer cancel()
	if none, err := n.none(ctx); err != nil || none {
		return err
	}
	resume, err := d.holdStill(ctx, id)
	if err != nil {
		return errNested(gone.mount, fmt.Errorf("its processes do not stand still: %w", err))
	}
	defer func() { err = errors.Join(err, resume()) }()
	if err := d.findNested(ctx, id, &n); err != nil {
		return errNested(gone.mount, err)
	}
	for _, ns := range n.found {
		if err := n.leave(ctx, ns); err != nil {
			return errNested(gone.mount, err)
		}
	}
	return nil
}

// looks is how many times over the list of mount namespaces has to show none. A guest that stands still for no look could, with luck, make one where
// it has been looked and drop one where it has not.
const looks = 3

// none tells whether the guest has made no mount namespace, as far as the kernel tells.
func (n *nestedScan) none(ctx context.Context) (bool, error) {
	for range looks {
		complete, err := n.list(ctx)
		if err != nil {
			return false, errNested(n.gone.mount, err)
		}
		if !complete || len(n.found) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// findNested looks for all mount namespaces of an instance that stands still.
func (d *Driver) findNested(ctx context.Context, id string, n *nestedScan) error {
	if err := n.close(); err != nil {
		return err
	}
	if complete, err := n.list(ctx); err != nil {
		return err
	} else if complete { // and the first, to which the mount may have come back
		own, err := n.init.open("ns/mnt", unix.O_RDONLY)
		if err == nil {
			n.found = append(n.found, own)
		}
		return err
	}
	for _, mount := range n.gone.known {
		n.mounts[mount] = true
	}
	n.enter = n.take
	pids, err := d.payload(id).Procs()
	if err != nil {
		return err
	}
	if err := n.processes(ctx, d.payloadPrefix()+id, pids); err != nil {
		return err
	}
	if n.beyond != nil {
		return n.beyond
	}
	if err := n.end(); err != nil { // as what is open: it is the process's until it ends
		d.log.Debug("There may be more mount namespaces", "instance", id, "err", err)
	}
	return nil
}

// nestedScan is a look for mount namespaces.
type nestedScan struct {
	*namespaceScan
	init  *initProcess
	gone  departed
	found []*os.File // its mount namespaces
}

func (n *nestedScan) take(ns *os.File) error {
	n.found = append(n.found, ns)
	if len(n.found) > maxNested {
		n.stop("it has more than %d mount namespaces", maxNested)
		return errEnough
	}
	return nil
}

func (n *nestedScan) close() error {
	var errs []error
	for _, f := range n.found {
		errs = append(errs, f.Close())
	}
	n.found = nil
	return errors.Join(errs...)
}

// leave takes out of a mount namespace all mounts that show what is gone. What lies beneath another root stays: systemd makes such a namespace for each
// service that has one, and to hold on to a disk an open folder does as well.
func (n *nestedScan) leave(ctx context.Context, ns *os.File) error {
	return unmountAll(ctx, &initProcess{fd: int(ns.Fd())}, n.gone.mount.Source, func() ([]int, error) {
		mounts, err := shownAnywhere(n.gone.from, n.gone.others)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(mounts, func(m *mountinfo.Info) bool { return m.Mountpoint == "/" }) {
			return nil, errors.New("it is the root there, which whoever has it as theirs would keep")
		}
		return reach(mounts)
	})
}
