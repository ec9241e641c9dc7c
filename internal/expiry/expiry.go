// Package expiry deletes things when their time has come: snapshots of instances and of volumes.
package expiry

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
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
	// Group names what a deletion may hang on, such as a pool: within a group one is deleted after the other, groups beside each other. With nil
	// all are one group.
	Group func(path []string) string
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
	under := map[string]bool{} // groups of which something is being deleted
	ended := make(chan round)
	for ctx.Err() == nil {
		due, next := p.due(time.Now(), changed, failed, under)
		for group, paths := range due {
			under[group] = true
			go func() { ended <- p.deleteAll(ctx, group, paths) }()
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(min(max(time.Until(next), 0), longestNap))
		}
		select {
		case <-timer:
		case <-p.wake:
			changed.add(time.Now())
		case r := <-ended:
			delete(under, r.group)
			for _, path := range r.paths {
				delete(failed, name(path))
			}
			maps.Copy(failed, r.failed)
		case <-ctx.Done():
		}
	}
	for range under {
		<-ended
	}
}

// round is what has come of deletions in a group.
type round struct {
	group  string
	paths  [][]string
	failed map[string]time.Time // as in Run
}

// deleteAll deletes what is due in a group.
func (p *Pruner) deleteAll(ctx context.Context, group string, paths [][]string) round {
	r := round{group: group, paths: paths, failed: map[string]time.Time{}}
	for _, path := range paths {
		if ctx.Err() != nil {
			break
		}
		switch err := p.Delete(ctx, path); {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, ErrBusy):
			r.failed[name(path)] = time.Now().Add(soon)
		default:
			p.Log.Error("An expired snapshot could not be deleted", "snapshot", name(path), "err", err)
			r.failed[name(path)] = time.Now().Add(again)
		}
	}
	return r
}

func name(path []string) string { return strings.Join(path, "/") }

// due lists what to delete now, by group, and when the next one has to be looked at; zero: never. Groups that are under way are left out.
func (p *Pruner) due(now time.Time, changed changes, failed map[string]time.Time, under map[string]bool) (due map[string][][]string, next time.Time) {
	due = map[string][][]string{}
	for path, at := range p.Dates() {
		if at.Unix() <= 0 {
			continue
		}
		at = changed.due(at)
		if len(failed) > 0 {
			if later := failed[name(path)]; later.After(at) {
				at = later
			}
		}
		if at.After(now) {
			if next.IsZero() || at.Before(next) {
				next = at
			}
			continue
		}
		group := ""
		if p.Group != nil {
			group = p.Group(path)
		}
		if !under[group] {
			due[group] = append(due[group], path)
		}
	}
	return due, next
}
