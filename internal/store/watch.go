package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// history is how many commits a watch of an engine in this process can begin behind. It is memory that is always held: who
// comes later than that scans and watches from there.
const history = 32

// watchers tells of commits to whoever watches. It is used with the lock held under which its engine commits.
type watchers struct {
	list   map[*watcher]struct{}
	recent [][]Event // the last commits, oldest first
	// forgotten is the last revision that recent has no more.
	forgotten Revision
	closed    chan struct{}
}

type watcher struct {
	prefix  string
	deliver func([]Event)
}

// newWatchers makes those of an engine whose last commit was now.
func newWatchers(now Revision) watchers {
	return watchers{list: map[*watcher]struct{}{}, forgotten: now, closed: make(chan struct{})}
}

// watch is Engine.Watch; mu is the lock under which the engine commits.
func (w *watchers) watch(ctx context.Context, mu sync.Locker, prefix string, after Revision, deliver func([]Event)) error {
	mu.Lock()
	one, err := w.add(prefix, after, deliver)
	mu.Unlock()
	if err != nil {
		return err
	}
	defer func() {
		mu.Lock()
		delete(w.list, one)
		mu.Unlock()
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.closed:
		return ErrClosed
	}
}

// add begins a watch, with what was committed since `after`.
func (w *watchers) add(prefix string, after Revision, deliver func([]Event)) (*watcher, error) {
	select {
	case <-w.closed:
		return nil, ErrClosed
	default:
	}
	if after < w.forgotten {
		return nil, fmt.Errorf("watch %s after revision %d: %w", prefix, after, ErrTooOld)
	}
	one := &watcher{prefix: prefix, deliver: deliver}
	for _, events := range w.recent {
		if events[0].Revision > after {
			one.tell(events)
		}
	}
	w.list[one] = struct{}{}
	return one, nil
}

// close ends every watch.
func (w *watchers) close() { close(w.closed) }

// publish tells of a commit; ops are those that changed something.
func (w *watchers) publish(rev Revision, ops []Op) {
	events := make([]Event, 0, len(ops))
	for _, op := range ops {
		e := Event{Entry: Entry{Key: op.Key, Revision: rev}, Deleted: op.Delete, decoded: op.decoded}
		if !op.Delete {
			e.Value = op.Value
		}
		events = append(events, e)
	}
	if len(w.recent) >= 2*history {
		w.forgotten = w.recent[history-1][0].Revision
		clear(w.recent[copy(w.recent, w.recent[history:]):])
		w.recent = w.recent[:history]
	}
	w.recent = append(w.recent, events)
	for one := range w.list {
		one.tell(events)
	}
}

func (w *watcher) tell(events []Event) {
	mine := events
	if w.prefix != "/" {
		mine = nil
		for _, e := range events {
			if strings.HasPrefix(e.Key, w.prefix) {
				mine = append(mine, e)
			}
		}
	}
	if len(mine) > 0 {
		w.deliver(mine)
	}
}
