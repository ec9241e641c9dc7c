package store

import (
	"bytes"
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"
)

// Memory is an engine without a disk, for tests of what stands on a store.
type Memory struct {
	mu       sync.Mutex
	entries  map[string]Entry
	revision Revision
	watchers watchers
	closed   bool

	leases *localLeases
	leased map[string]LeaseID // by key
}

var _ Engine = (*Memory)(nil)

// NewMemory makes an empty engine in memory.
func NewMemory() *Memory {
	m := &Memory{entries: map[string]Entry{}, watchers: newWatchers(0), leased: map[string]LeaseID{}}
	m.leases = newLocalLeases(m.endLease)
	return m
}

// Scan implements Engine.
func (m *Memory) Scan(ctx context.Context, prefix string, each func(Entry) error) (Revision, error) {
	entries, rev := m.list(prefix)
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := each(e); err != nil {
			return 0, err
		}
	}
	return rev, ctx.Err()
}

func (m *Memory) list(prefix string) ([]Entry, Revision) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []Entry
	for key, e := range m.entries {
		if strings.HasPrefix(key, prefix) {
			found = append(found, e)
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Key < found[j].Key })
	return found, m.revision
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
			return m.revision, fmt.Errorf("%s: %w", op.Key, ErrConflict)
		}
		if op.Lease != 0 && !m.leases.alive(op.Lease) {
			return 0, fmt.Errorf("%s: %w", op.Key, ErrNoLease)
		}
	}
	return m.write(ops), nil
}

func (m *Memory) write(ops []Op) Revision {
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
		delete(m.leased, op.Key)
		if op.Lease != 0 {
			m.leased[op.Key] = op.Lease
		}
		written = append(written, op)
	}
	if len(written) > 0 {
		m.revision++
		m.watchers.publish(m.revision, written)
	}
	return m.revision
}

func (m *Memory) endLease(id LeaseID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ops []Op
	for key, lease := range m.leased {
		if lease == id {
			ops = append(ops, Op{Key: key, Delete: true})
		}
	}
	m.write(ops)
	return nil
}

// Watch implements Engine.
func (m *Memory) Watch(ctx context.Context, prefix string, after Revision, deliver func([]Event)) error {
	return m.watchers.watch(ctx, &m.mu, prefix, after, deliver)
}

// Grant implements Leases.
func (m *Memory) Grant(_ context.Context, ttl time.Duration) (LeaseID, error) {
	return m.leases.grant(ttl)
}

// Renew implements Leases.
func (m *Memory) Renew(_ context.Context, id LeaseID) error { return m.leases.renew(id) }

// Revoke implements Leases.
func (m *Memory) Revoke(_ context.Context, id LeaseID) error { return m.leases.revoke(id) }

// Close implements Engine.
func (m *Memory) Close() error {
	m.leases.close()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		m.watchers.close()
	}
	return nil
}
