package lxc

import (
	"context"
	"errors"
	"testing"

	"github.com/berthd/berth/internal/fdcount"
	"github.com/berthd/berth/internal/runtime"
	"github.com/berthd/berth/internal/spec"
)

// TestDescriptorsAreGivenBack counts those of the daemon, pidfds among them, before and after fifty of each.
func TestDescriptorsAreGivenBack(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	steady := func(name string, do func(h *host)) {
		t.Run(name, func(t *testing.T) {
			sub := *h
			sub.T = t
			fdcount.Steady(t, func() { do(&sub) })
		})
	}
	h.start(d, h.spec("c1"))
	steady("exec", func(h *host) { h.sh(d, "c1", "true") })
	steady("exec of what is not there", func(h *host) {
		c, err := d.Exec(h.context(), "c1", runtime.ExecRequest{Command: []string{"nosuch"}})
		h.do(err)
		if _, err := c.Wait(); !errors.Is(err, runtime.ErrCommandNotFound) {
			h.Error(err)
		}
	})
	steady("exec in what does not run", func(h *host) {
		if _, err := d.Exec(h.context(), "c2", runtime.ExecRequest{Command: []string{"true"}}); err == nil {
			h.Error("it ran")
		}
	})
	steady("terminal", func(h *host) {
		controller, terminal, err := d.Terminal(h.context(), "c1")
		h.do(err)
		h.do(errors.Join(controller.Close(), terminal.Close()))
	})
	steady("console", func(h *host) {
		c, err := d.Console(h.context(), "c1")
		h.do(err)
		h.do(c.Close())
	})
	steady("root and namespace", func(h *host) {
		root, err := d.Root("c1")
		h.do(err)
		ns, err := d.NetworkNamespace("c1")
		h.do(errors.Join(err, root.Close(), ns.Close()))
	})
	steady("state", func(h *host) {
		_, err := d.State(h.context(), "c1", nil)
		h.do(err)
	})
	steady("freeze", func(h *host) { h.do(errors.Join(d.Freeze(h.context(), "c1"), d.Thaw(h.context(), "c1"))) })
	steady("find", func(h *host) {
		if _, err := d.Find(h.context(), anyone); err != nil {
			h.Error(err)
		}
	})
	steady("start and kill", func(h *host) {
		s := h.spec("c3")
		_, err := d.Start(h.context(), s)
		h.do(err)
		h.do(d.Kill(h.context(), s.ID))
		h.do(d.Cleanup(h.context(), s.ID, s.UUID))
	})
	steady("a start that fails", func(h *host) {
		s := h.spec("c4")
		s.RootFS.Path += "-none"
		if _, err := d.Start(h.context(), s); err == nil {
			h.Error("it started")
		}
	})
}

// TestARestartFromInsideKeepsNoDescriptor does so for a guest that reboots again and again.
func TestARestartFromInsideKeepsNoDescriptor(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	started := make(chan struct{}, 1)
	d.OnRestart(func(_ context.Context, _ string, launch func(*spec.Spec) error) error {
		err := launch(nil)
		started <- struct{}{}
		return err
	})
	h.start(d, h.spec("c1"))
	fdcount.Steady(t, func() {
		h.reboots(d, "c1")
		select {
		case <-started:
		case <-h.context().Done():
			h.Fatal("it does not restart")
		}
		for ctx := h.context(); ; { // until the new one is in the place of the old one
			if i, err := d.initOf("c1"); err == nil {
				i.release()
				return
			}
			if ctx.Err() != nil {
				h.Fatal("there is no other init")
			}
		}
	})
	h.do(d.Kill(h.context(), "c1"))
}
