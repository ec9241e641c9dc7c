package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/berthd/berth/api"
)

const (
	// quickStop is how long operations may go on when only the daemon ends: those that are cut off are taken up again
	// or undone, so that none needs long.
	quickStop = 10 * time.Second
	// lastAnswers is how long requests under way may take to get their answer.
	lastAnswers = 2 * time.Second
	// partTime is how long one part of the daemon may take to end. What hangs longer, in a disk or a program that stands still,
	// ends with the process: the next daemon finds what it leaves as after a kill.
	partTime = time.Second
	// haltTime is how long a part may take to stop what must not outlive the machine, once the time for that is over.
	haltTime = 6 * time.Second
	// instancesTime bounds the stop of all instances where nobody gave a limit. Each has a shorter one of its own.
	instancesTime = 10 * time.Minute
)

// Shutdown implements server.Lifetime: it ends instances and daemon.
func (d *Daemon) Shutdown(force bool, timeout time.Duration) error {
	req := stopRequest{halt: true, force: force, timeout: timeout, done: make(chan error, 1)}
	if !d.stopping.CompareAndSwap(false, true) {
		return api.Unavailable("Shutdown already in progress")
	}
	d.stop <- req
	return <-req.done
}

// Halt is Shutdown for a signal: nobody waits.
func (d *Daemon) Halt() {
	if d.stopping.CompareAndSwap(false, true) {
		d.stop <- stopRequest{halt: true}
	}
}

// within waits for a function, but not for longer than limit: nothing that hangs keeps the daemon from its end.
func within(limit time.Duration, what string, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		slog.Warn("A part of the daemon does not end; it is left", "part", what)
	}
}

// takeDown ends everything, in the order that lets each part still reach what it needs. A limit that came with the request holds
// for all of it, but for a few seconds: operations have half of it at most, instances the rest.
func (d *Daemon) takeDown(req stopRequest) error {
	slog.Info("Daemon stops", "instances", req.halt)
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), d.operationsLimit(req))
	if req.force {
		cancel()
	}
	if err := d.ops.Shutdown(ctx); err != nil {
		slog.Warn("Operations were cut short", "err", err)
	}
	cancel()

	var err error
	if req.halt {
		limit := instancesTime
		if req.timeout > 0 {
			limit = req.timeout - time.Since(began)
		}
		err = d.haltAll(limit)
	}
	if req.done != nil {
		req.done <- err
	}
	notifyStopping()
	d.closeAll()
	closed := make(chan error, 1)
	within(partTime, "store", func() { closed <- d.store.Close() })
	slog.Info("Daemon has stopped")
	select {
	case failed := <-closed:
		return errors.Join(err, failed)
	default:
		return err
	}
}

func (d *Daemon) operationsLimit(req stopRequest) time.Duration {
	switch {
	case !req.halt:
		return quickStop
	case req.timeout > 0:
		return req.timeout / 2
	}
	return time.Duration(d.config.Int("core.shutdown_timeout")) * time.Minute
}

// haltAll stops what must not outlive the machine. Where the first part takes all the time, those after it get a little more.
func (d *Daemon) haltAll(limit time.Duration) error {
	end := time.Now().Add(limit)
	failed := make(chan error, len(d.parts))
	for _, p := range slices.Backward(d.parts) {
		if p.halt == nil {
			continue
		}
		left := max(time.Until(end), partTime)
		ctx, cancel := context.WithTimeout(context.Background(), left)
		within(left+haltTime, p.name, func() { failed <- p.halt(ctx) })
		cancel()
	}
	var err error
	for len(failed) > 0 {
		err = errors.Join(err, <-failed)
	}
	return err
}

func (d *Daemon) closeAll() {
	d.Hub.Close()
	ctx, cancel := context.WithTimeout(context.Background(), lastAnswers)
	defer cancel()
	if err := d.server.Shutdown(ctx); err != nil {
		slog.Debug("Requests were cut off", "err", err)
	}
	within(partTime, "network listener", d.https.close)
	within(partTime, "debug listener", d.debug.close)
	within(partTime, "listener for metrics", d.metrics.close)
	within(partTime, "listeners", d.running.Wait)
	for _, p := range slices.Backward(d.parts) {
		if p.close != nil {
			within(partTime, p.name, p.close)
		}
	}
}
