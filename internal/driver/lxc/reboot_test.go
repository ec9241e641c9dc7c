package lxc

import (
	"context"
	"errors"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/spec"
)

// TestAKillWhileItRestartsFromInside comes when the old processes have ended, and there are new ones before it has looked: they end too,
// and it does not say that they have before.
func TestAKillWhileItRestartsFromInside(t *testing.T) {
	for name, end := range map[string]func(d *Driver, ctx context.Context, id string) error{"kill": (*Driver).Kill, "shutdown": (*Driver).Shutdown} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			d := h.driver()
			restarts, wanted, launched := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			d.OnRestart(func(ctx context.Context, _ string, launch func(*spec.Spec) error) error {
				close(restarts)
				select {
				case <-ctx.Done(): // somebody wants its end
					close(wanted)
				case <-h.context().Done():
				}
				err := launch(nil)
				launched <- err
				return err
			})
			s := h.spec("c1")
			h.start(d, s)
			exited := make(chan struct{})
			d.Watch("c1", func() { close(exited) })
			h.reboots(d, "c1")
			wait := func(what string, ch <-chan struct{}) {
				t.Helper()
				select {
				case <-ch:
				case <-h.context().Done():
					t.Fatal(what)
				}
			}
			wait("it does not restart", restarts)
			ended := make(chan error, 1)
			go func() { ended <- end(d, h.context(), "c1") }()
			wait("the restart does not hear that the end is wanted", wanted)
			h.do(<-launched)
			select {
			case err := <-ended:
				h.do(err)
			case <-h.context().Done():
				t.Fatal("it does not end")
			}
			wait("nobody was told of the end", exited)
			if got := d.Status("c1"); got != api.Stopped {
				t.Errorf("it is %s", got)
			}
			if i, err := d.initOf("c1"); err == nil {
				i.release()
				t.Error("it has an init")
			}
		})
	}
}

// TestARestartThatIsNotWantedAnyMore: the one who wants the end may come between the look at the mark and the restart.
func TestARestartThatIsNotWantedAnyMore(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	d.OnRestart(func(ctx context.Context, _ string, _ func(*spec.Spec) error) error { return ctx.Err() })
	c := &container{id: "c1"}
	done := c.wantEnd()
	if err := d.restart(c); !errors.Is(err, context.Canceled) {
		t.Errorf("it waits for its turn to restart: %v", err)
	}
	done()
	if err := d.restart(c); err != nil {
		t.Errorf("the restart of one that is wanted is given up: %v", err)
	}
}
