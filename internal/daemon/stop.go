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
)

// Shutdown implements server.Lifetime: it ends instances and daemon.
func (d *Daemon) Shutdown(force bool, timeout time.Duration) error {
	req := stopRequest{halt: true, force: force, timeout: timeout, done: make(chan error, 1)}
	select {
	case d.stop <- req:
		return <-req.done
	default:
		return api.Unavailable("Shutdown already in progress")
	}
}

// Halt is Shutdown for a signal: nobody waits.
func (d *Daemon) Halt() {
	select {
	case d.stop <- stopRequest{halt: true}:
	default:
	}
}

// takeDown ends everything, in the order that lets each part still reach what it needs.
func (d *Daemon) takeDown(req stopRequest) error {
	slog.Info("Daemon stops", "instances", req.halt)
	limit := quickStop
	if req.halt {
		limit = time.Duration(d.config.Int("core.shutdown_timeout")) * time.Minute
		if req.timeout > 0 {
			limit = req.timeout
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	if req.force {
		cancel()
	}
	if err := d.ops.Shutdown(ctx); err != nil {
		slog.Warn("Operations were cut short", "err", err)
	}
	cancel()

	var err error
	if req.halt {
		halting, cancel := context.WithTimeout(context.Background(), haltLimit(req))
		for _, p := range slices.Backward(d.parts) {
			if p.halt != nil {
				err = errors.Join(err, p.halt(halting))
			}
		}
		cancel()
	}
	if req.done != nil {
		req.done <- err
	}
	d.closeAll()
	slog.Info("Daemon has stopped")
	return errors.Join(err, d.store.Close())
}

// haltLimit bounds the stop of all instances. Each has a shorter one of its own.
func haltLimit(req stopRequest) time.Duration {
	if req.timeout > 0 {
		return req.timeout
	}
	return 10 * time.Minute
}

func (d *Daemon) closeAll() {
	d.Hub.Close()
	ctx, cancel := context.WithTimeout(context.Background(), lastAnswers)
	defer cancel()
	if err := d.server.Shutdown(ctx); err != nil {
		slog.Debug("Requests were cut off", "err", err)
	}
	d.https.close()
	d.running.Wait()
	for _, p := range slices.Backward(d.parts) {
		if p.close != nil {
			p.close()
		}
	}
}
