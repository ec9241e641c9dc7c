package store

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
)

// Memory is an engine without a disk, for tests of what stands on a store.
type Memory struct {
	mu       sync.Mutex
	entries  map[string]Entry
	revision Revision
	watchers watchers
}

var _ Engine = (*Memory)(nil)

// NewMemory makes an empty engine in memory.
func NewMemory() *Memory { return &Memory{entries: map[string]Entry{}} }

// List implements Engine.
func (m *Memory) List(_ context.Context, prefix string) ([]Entry, Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []Entry
	for key, e := range m.entries {
		if strings.HasPrefix(key, prefix) {
			found = append(found, e)
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Key < found[j].Key })
	return found, m.revision, nil
}

// Commit implements Engine.
func (m *Memory) Commit(_ context.Context, ops []Op) (Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, op := range ops {
		if op.Guard != nil && m.entries[op.Key].Revision != *op.Guard {
			return 0, fmt.Errorf("%s: %w", op.Key, ErrConflict)
		}
	}
	m.revision++
	events := make([]Event, 0, len(ops))
	for _, op := range ops {
		e := Entry{Key: op.Key, Value: op.Value, Revision: m.revision}
		if op.Delete {
			delete(m.entries, op.Key)
		} else {
			m.entries[op.Key] = e
		}
		events = append(events, Event{Entry: e, Deleted: op.Delete})
	}
	m.watchers.publish(events)
	return m.revision, nil
}

// Watch implements Engine. Commits before the call are not replayed; `after` must be the current revision.
func (m *Memory) Watch(ctx context.Context, prefix string, _ Revision) (<-chan []Event, error) {
	return m.watchers.add(ctx, prefix), nil
}

// Close implements Engine.
func (m *Memory) Close() error { return nil }
