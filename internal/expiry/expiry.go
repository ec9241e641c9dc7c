// Package expiry deletes things when their time has come: snapshots of instances and of volumes.
package expiry

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"strings"
	"time"
)

const (
	// longestNap is how long pruning trusts its timer: the clock may be set, and timers stand still in a suspended host.
	longestNap = time.Hour
	// again is when a deletion that failed is tried again, and soon when one is that others were in the way of.
	again, soon = 10 * time.Minute, time.Minute
	// grace is what is left to something whose date had passed already when it was given it: time to see that, and to put it right.
	// Where dates change all the time, it is at most longestGrace in all.
	grace, longestGrace = time.Minute, 10 * time.Minute
)

// ErrBusy is in the error of a deletion that somebody is in the way of.
var ErrBusy = errors.New("busy")

// changes are those of dates that came less than grace apart.
type changes struct{ first, last time.Time }

func (c *changes) add(now time.Time) {
	if now.After(c.last.Add(grace)) {
		c.first = now
	}
	c.last = now
}

// due is when something with a date is deleted.
func (c changes) due(date time.Time) time.Time {
	if date.After(c.last) {
		return date
	}
	end, limit := c.last.Add(grace), c.first.Add(longestGrace)
	if end.Before(limit) {
		return end
	}
	return limit
}

// Pruner deletes what expires. Its fields are set before Run.
type Pruner struct {
	// Dates lists what there is, by its path, with the time at which it expires; neither the zero time nor the epoch is a date.
	Dates func() iter.Seq2[[]string, time.Time]
	// Delete deletes one, unless it is gone or its date has been changed meanwhile. It waits for nobody: those behind it would wait too,
	// and so would whoever wants what it holds. Where others use what it needs it returns ErrBusy, and is called again.
	Delete func(ctx context.Context, path []string) error
	// Log is told of deletions that fail.
	Log *slog.Logger

	wake chan struct{}
}

// New makes a pruner; Changed may be called from then on.
func New() *Pruner { return &Pruner{wake: make(chan struct{}, 1)} }

// Changed tells that something has been made that expires, or that a date has been changed.
func (p *Pruner) Changed() {
	select {
	case p.wake <- struct{}{}:
	default: // it has yet to handle the last wake-up, and will see this change then
	}
}

// Run prunes until the context ends. It sleeps until the next one is due and, when none ever will be, until Changed is called.
func (p *Pruner) Run(ctx context.Context) {
	failed := map[string]time.Time{} // when to try again, by path
	var changed changes
	// Whoever gave something a date that had passed just before the daemon ended, or while it did not run, has had no time to see it.
	changed.add(time.Now())
	for ctx.Err() == nil {
		due, next := p.due(time.Now(), changed, failed)
		for _, path := range due {
			name := strings.Join(path, "/")
			delete(failed, name)
			switch err := p.Delete(ctx, path); {
			case err == nil || ctx.Err() != nil:
			case errors.Is(err, ErrBusy):
				failed[name] = time.Now().Add(soon)
			default:
				p.Log.Error("An expired snapshot could not be deleted", "snapshot", name, "err", err)
				failed[name] = time.Now().Add(again)
			}
		}
		if len(due) > 0 {
			continue // time has passed
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(min(max(time.Until(next), 0), longestNap))
		}
		select {
		case <-timer:
		case <-p.wake:
			changed.add(time.Now())
		case <-ctx.Done():
		}
	}
}

// due lists what to delete now, and when the next one has to be looked at; zero: never.
func (p *Pruner) due(now time.Time, changed changes, failed map[string]time.Time) (due [][]string, next time.Time) {
	for path, at := range p.Dates() {
		if at.Unix() <= 0 {
			continue
		}
		at = changed.due(at)
		if len(failed) > 0 {
			if later := failed[strings.Join(path, "/")]; later.After(at) {
				at = later
			}
		}
		if !at.After(now) {
			due = append(due, path)
		} else if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return due, next
}
