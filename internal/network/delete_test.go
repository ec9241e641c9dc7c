package network

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/internal/nettest"
	"github.com/berthd/berth/internal/store"
)

// refusing is an engine that refuses commits which remove a network's record, after a call.
type refusing struct {
	store.Engine
	before func()
}

func (r *refusing) Commit(ctx context.Context, ops []store.Op) (store.Revision, error) {
	for _, op := range ops {
		if op.Delete && strings.HasPrefix(op.Key, "/networks/") {
			r.before()
			return 0, errors.New("no space left on device")
		}
	}
	return r.Engine.Commit(ctx, ops)
}

// TestADeletionThatFailedIsNotFinishedByTheNextStart, also where the network could not be brought up again: whoever asked was told that it stays.
func TestADeletionThatFailedIsNotFinishedByTheNextStart(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	ctx, dir := t.Context(), nettest.Dir(t)
	engine := &refusing{Engine: store.NewMemory()}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "brstays"
	hosts := &netlink.Bridge{LinkAttrs: attrs}
	engine.before = func() { must(t, netlink.LinkAdd(hosts)) } // in the way of what is to come back
	s := daemon(t, engine, dir)
	must(t, s.Create(ctx, "default", post("brstays", noAddresses)))
	if err := s.Delete(ctx, "default", "brstays"); err == nil || !strings.Contains(err.Error(), "brstays") {
		t.Errorf("deleted: %v", err)
	}
	if n := s.Journal.Pending(); n != 0 {
		t.Errorf("%d entries are left", n)
	}
	must(t, netlink.LinkDel(hosts))
	s = daemon(t, engine.Engine, dir)
	if r, ok := s.byInterface("brstays"); !ok || s.status(r) != "Created" || !exists("brstays") {
		t.Errorf("the network is gone: %v", s.Managed("default"))
	}
	must(t, s.Delete(ctx, "default", "brstays"))
}
