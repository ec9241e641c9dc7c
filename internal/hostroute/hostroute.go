// Package hostroute keeps the routes that the daemon makes on the host apart from all others. The kernel does not say whose a route
// is, so each owner (a NIC, a network) has a file that does: a route is in it before it is made, and only what is in it is ever
// replaced or removed. What the host, or another owner, has a route to already is refused.
package hostroute

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/internal/fault"
)

// Owner is what routes are made for.
type Owner struct {
	// File records the routes; its folder is there before one is made.
	File string
	// Partner is the file of the owner whose place this one takes, or that takes this one's; empty: none. What one of them has the other
	// may have too, and it goes with the last of them.
	Partner string
	// Protocol marks the routes, as ip(8) shows it.
	Protocol netlink.RouteProtocol
	// Over is the protocol of other owners' routes that may be replaced, on the same interface; 0: none. See Restore.
	Over netlink.RouteProtocol
}

// TakenError is the error about a route to where the host has one already. It wraps syscall.EEXIST.
type TakenError struct {
	Dst netip.Prefix
	By  string // the interface; empty: it has none, or it is not known
}

// Error implements error.
func (e *TakenError) Error() string {
	if e.By == "" {
		return fmt.Sprintf("the host has a route to %s already", e.Dst)
	}
	return fmt.Sprintf("the host has a route to %s already, on %s", e.Dst, e.By)
}

// Unwrap gives what the kernel says.
func (e *TakenError) Unwrap() error { return syscall.EEXIST }

var (
	// mu is held over each change: what is looked at is what is then changed.
	mu sync.Mutex
	// known is what the owners have of which this daemon has heard, by their files.
	known = map[string]holding{}
)

type holding struct {
	owner  Owner
	routes []route
}

// Instants between the steps of a change.
var (
	recordedPoint = fault.New("route.recorded")
	madePoint     = fault.New("route.made")
)

// Sync makes the routes that are wanted over an interface, and removes what else the owner has. After an error what was made is recorded: a
// Sync to what was wanted before, or Remove, takes it back. A TakenError comes before anything is changed, unless somebody makes
// the route just then.
func (o Owner) Sync(link netlink.Link, want []netip.Prefix) error {
	mu.Lock()
	defer mu.Unlock()
	had, host, index := o.read(), &view{}, link.Attrs().Index
	var has, missing, others []route
	for _, p := range want {
		r := route{Dst: p.Masked(), Link: index}
		if slices.Contains(has, r) {
			continue
		}
		has = append(has, r)
		found, err := o.look(host, r, had)
		switch {
		case err != nil:
			return err
		case found == absent:
			missing = append(missing, r)
		case found == replaceable:
			others = append(others, r)
		}
	}
	if len(missing)+len(others)+len(without(had, has)) == 0 {
		return o.change(had, has)
	}
	all := union(had, has)
	if err := o.change(had, all); err != nil {
		return err
	}
	if err := recordedPoint.Hit(); err != nil {
		return err
	}
	for n, r := range missing {
		if err := o.add(r); err != nil {
			return errors.Join(err, o.change(all, union(had, without(has, missing[n:]))))
		}
	}
	for _, r := range others {
		if err := netlink.RouteReplace(o.kernel(r)); err != nil {
			return fmt.Errorf("replace route to %s: %w", r.Dst, err)
		}
	}
	if err := madePoint.Hit(); err != nil {
		return err
	}
	if err := o.del(without(had, has)); err != nil {
		return err
	}
	return o.change(all, has)
}

// Remove removes the routes of the owner, and its file.
func (o Owner) Remove() error {
	mu.Lock()
	defer mu.Unlock()
	if err := o.del(o.read()); err != nil {
		return err
	}
	return o.forget()
}

// Claim records the routes over an interface that are like those that the owner makes, unless it has a file: a daemon that did not keep
// any has made them.
func (o Owner) Claim(link netlink.Link, like func(netip.Prefix) bool) error {
	mu.Lock()
	defer mu.Unlock()
	if o.recorded() {
		return nil
	}
	var found []route
	host := &view{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := host.list(family)
		if err != nil {
			return err
		}
		for _, k := range all {
			r := route{Dst: destination(k), Link: link.Attrs().Index}
			if o.made(k, r) && like(r.Dst) {
				found = append(found, r)
			}
		}
	}
	err := o.write(found)
	if err != nil && len(found) == 0 {
		slog.Warn("That there are no routes could not be recorded", "file", o.File, "err", err)
		return nil // as a full disk must not keep a network down
	}
	return err
}

// Restore makes again the routes over an interface that its owners should have and the kernel has dropped, as it does with the last address
// of a family, or that another owner has replaced for a while. What cannot be made now waits for the next time.
func Restore(link netlink.Link) {
	mu.Lock()
	defer mu.Unlock()
	for _, h := range known {
		for _, r := range h.routes {
			if r.Link != link.Attrs().Index {
				continue
			}
			if err := h.owner.add(r); err != nil && !errors.Is(err, syscall.EEXIST) {
				slog.Info("A route could not be made again", "interface", link.Attrs().Name, "route", r.Dst.String(), "err", err)
			}
		}
	}
}

// sight is what look sees.
type sight int

const (
	absent sight = iota
	present
	replaceable // another is there that the owner may replace
)

// look looks for a route that the owner wants. It fails with a TakenError where the host has one that is not the owner's.
func (o Owner) look(host *view, r route, had []route) (sight, error) {
	all, err := host.list(r.family())
	if err != nil {
		return absent, err
	}
	mine := union(had, Owner{File: o.Partner}.read())
	if slices.Contains(mine, r) && slices.ContainsFunc(all, func(k netlink.Route) bool { return o.made(k, r) }) {
		return present, nil
	}
	found := absent
	for _, k := range all {
		if !competes(k, r) {
			continue
		}
		at := route{Dst: r.Dst, Link: k.LinkIndex}
		over := o.Over != 0 && at == r && Owner{Protocol: o.Over}.made(k, at) && anybodys(at)
		if !over && !(o.made(k, at) && slices.Contains(mine, at)) {
			return absent, &TakenError{r.Dst, nameOf(k.LinkIndex)}
		}
		found = replaceable
	}
	return found, nil
}

// anybodys tells whether some owner has a route.
func anybodys(r route) bool {
	for _, h := range known {
		if slices.Contains(h.routes, r) {
			return true
		}
	}
	return false
}

// add makes a route, if there is none to the same destination.
func (o Owner) add(r route) error {
	err := netlink.RouteAdd(o.kernel(r))
	if errors.Is(err, syscall.EEXIST) {
		return &TakenError{Dst: r.Dst}
	}
	if err != nil {
		return fmt.Errorf("add route to %s: %w", r.Dst, err)
	}
	return nil
}

// del removes routes from the kernel, but not what the partner has too. What is gone already is no error.
func (o Owner) del(routes []route) error {
	host := &view{}
	for _, r := range without(routes, Owner{File: o.Partner}.read()) {
		all, err := host.list(r.family())
		if err != nil {
			return err
		}
		for _, k := range all {
			if !o.made(k, r) {
				continue
			}
			if err := netlink.RouteDel(&k); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("remove route to %s: %w", r.Dst, err)
			}
		}
	}
	return nil
}

func union(a, b []route) []route { return append(slices.Clone(a), without(b, a)...) }

// without are the routes of a that are not in b.
func without(a, b []route) []route {
	return slices.DeleteFunc(slices.Clone(a), func(r route) bool { return slices.Contains(b, r) })
}
