package store

import (
	"context"
	"strings"
	"sync"
)

// watchers hands committed events to whoever watches. A slow watcher never blocks a commit: its events queue.
type watchers struct {
	mu   sync.Mutex
	list map[*watcher]struct{}
}

type watcher struct {
	prefix string
	wake   chan struct{}
	mu     sync.Mutex
	queue  [][]Event
}

func (w *watchers) add(ctx context.Context, prefix string) <-chan []Event {
	one := &watcher{prefix: prefix, wake: make(chan struct{}, 1)}
	w.mu.Lock()
	if w.list == nil {
		w.list = map[*watcher]struct{}{}
	}
	w.list[one] = struct{}{}
	w.mu.Unlock()

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
			for _, events := range one.take() {
				select {
				case <-ctx.Done():
					return
				case out <- events:
				}
			}
		}
	}()
	return out
}

func (w *watchers) publish(events []Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
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

func (w *watcher) take() [][]Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	queue := w.queue
	w.queue = nil
	return queue
}
