package instance

import (
	"context"
	"sync"
	"time"

	"github.com/berthd/berth/api"
)

// locks holds one lock per instance and remembers what it is held for, so that a second change can say what it
// collides with instead of waiting in silence.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	owner  *locks
	key    string
	action string
	done   chan struct{}
	once   sync.Once
}

// patience is how long a short change waits for a long one before it gives up.
const patience = 30 * time.Second

// acquire takes the lock of an instance for an action. Held by another, it waits until ctx ends if wait is set, and
// at most for patience; else it says at once that the instance is busy.
func (l *locks) acquire(ctx context.Context, key, action string, wait bool) (*lock, error) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		mine, other := l.try(key, action)
		if mine != nil {
			return mine, nil
		}
		if !wait && !other.short() {
			return nil, busy(other.action)
		}
		select {
		case <-other.done:
		case <-deadline.C:
			return nil, busy(other.action)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// acquireForever is acquire without a bound but ctx's, for what must happen sooner or later.
func (l *locks) acquireForever(ctx context.Context, key, action string) (*lock, error) {
	for {
		mine, other := l.try(key, action)
		if mine != nil {
			return mine, nil
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func busy(action string) error {
	return api.BadRequest("Instance is busy running a %q operation", action)
}

// try takes the lock, or returns who has it.
func (l *locks) try(key, action string) (mine, other *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other = l.held[key]; other != nil {
		return nil, other
	}
	if l.held == nil {
		l.held = map[string]*lock{}
	}
	mine = &lock{owner: l, key: key, action: action, done: make(chan struct{})}
	l.held[key] = mine
	return mine, nil
}

// holder returns who holds a lock, or nil.
func (l *locks) holder(key string) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[key]
}

// short tells that whoever comes next had better wait than fail.
func (k *lock) short() bool {
	switch k.action {
	case "update", "snapshot", "exit", "start":
		return true
	}
	return false
}

// release gives the lock back; a second call does nothing, so that it can be deferred.
func (k *lock) release() {
	k.once.Do(func() {
		k.owner.mu.Lock()
		delete(k.owner.held, k.key)
		k.owner.mu.Unlock()
		close(k.done)
	})
}
