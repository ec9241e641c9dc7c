package store

import (
	"bytes"
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
	apply    func(rev Revision, ops []Op)
	watchers watchers
	closed   bool
}

var _ Engine = (*Memory)(nil)

// NewMemory makes an empty engine in memory.
func NewMemory() *Memory { return &Memory{entries: map[string]Entry{}} }

// List implements Engine.
func (m *Memory) List(ctx context.Context, prefix string) ([]Entry, Revision, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
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

// Scan implements Engine.
func (m *Memory) Scan(ctx context.Context, prefix string, each func(Entry) error) error {
	entries, _, err := m.List(ctx, prefix)
	for _, e := range entries {
		if err == nil {
			err = each(e)
		}
	}
	return err
}

// Commit implements Engine.
func (m *Memory) Commit(ctx context.Context, ops []Op) (Revision, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := Validate(ops); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, ErrClosed
	}
	for _, op := range ops {
		if op.Guard != nil && m.entries[op.Key].Revision != *op.Guard {
			return 0, fmt.Errorf("%s: %w", op.Key, ErrConflict)
		}
	}
	var written []Op
	for _, op := range ops {
		switch _, there := m.entries[op.Key]; {
		case op.Check, op.Delete && !there:
			continue
		case op.Delete:
			delete(m.entries, op.Key)
		default:
			m.entries[op.Key] = Entry{Key: op.Key, Value: bytes.Clone(op.Value), Revision: m.revision + 1}
		}
		written = append(written, op)
	}
	if len(written) == 0 {
		return m.revision, nil
	}
	m.revision++
	if m.apply != nil {
		m.apply(m.revision, written)
	}
	m.watchers.publish(m.revision, written)
	return m.revision, nil
}

// OnCommit implements Engine.
func (m *Memory) OnCommit(apply func(rev Revision, ops []Op)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.apply = apply
}

// Watch implements Engine.
func (m *Memory) Watch(ctx context.Context, prefix string, after Revision) (<-chan []Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.watchers.add(ctx, prefix, after, m.revision)
}

// Close implements Engine.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.watchers.close()
	return nil
}
