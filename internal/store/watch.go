package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// history is how many commits watchers can be behind when they begin. It is memory that is always held: who comes later
// than that lists and watches from there.
const history = 32

// watchers hands committed events to whoever watches. A slow watcher never blocks a commit: its events queue.
type watchers struct {
	mu     sync.Mutex
	list   map[*watcher]struct{}
	recent [][]Event // the last commits, oldest first
	closed bool
}

type watcher struct {
	prefix string
	wake   chan struct{}
	mu     sync.Mutex
	queue  [][]Event
	ended  bool // the engine closed: end once the queue is empty
}

// add begins a watch. now is the engine's current revision; no commit may be published between reading it and add.
func (w *watchers) add(ctx context.Context, prefix string, after, now Revision) (<-chan []Event, error) {
	one := &watcher{prefix: prefix, wake: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrClosed
	}
	if after < now && (len(w.recent) == 0 || w.recent[0][0].Revision > after+1) {
		return nil, fmt.Errorf("watch %s after revision %d: %w", prefix, after, ErrTooOld)
	}
	for _, events := range w.recent {
		if events[0].Revision > after {
			one.put(events)
		}
	}
	if w.list == nil {
		w.list = map[*watcher]struct{}{}
	}
	w.list[one] = struct{}{}

	out := make(chan []Event)
	go func() {
		defer close(out)
		defer func() {
			w.mu.Lock()
			delete(w.list, one)
			w.mu.Unlock()
		}()
		for {
			select {
			case <-ctx.Done():
				return
			case <-one.wake:
			}
			queue, ended := one.take()
			for _, events := range queue {
				select {
				case <-ctx.Done():
					return
				case out <- events:
				}
			}
			if ended {
				return
			}
		}
	}()
	return out, nil
}

func (w *watchers) publish(rev Revision, ops []Op) {
	if len(ops) == 0 {
		return
	}
	events := make([]Event, 0, len(ops))
	for _, op := range ops {
		events = append(events, Event{Entry: Entry{Key: op.Key, Value: op.Value, Revision: rev}, Deleted: op.Delete})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.recent) >= 2*history {
		w.recent = append(w.recent[:0], w.recent[history:]...)
	}
	w.recent = append(w.recent, events)
	for one := range w.list {
		one.put(events)
	}
}

func (w *watcher) put(events []Event) {
	var mine []Event
	for _, e := range events {
		if strings.HasPrefix(e.Key, w.prefix) {
			mine = append(mine, e)
		}
	}
	if len(mine) == 0 {
		return
	}
	w.mu.Lock()
	w.queue = append(w.queue, mine)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) take() (queue [][]Event, ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	queue = w.queue
	w.queue = nil
	return queue, w.ended
}

// close ends every watch after what it still has to deliver.
func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for one := range w.list {
		one.end()
	}
}

func (w *watcher) end() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
