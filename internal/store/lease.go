package store

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// localLeases are those of an engine in this process, and end with it.
type localLeases struct {
	end func(LeaseID) error // deletes the keys of a lease that has ended

	mu     sync.Mutex
	last   LeaseID
	live   map[LeaseID]*localLease
	closed bool
}

type localLease struct {
	ttl    time.Duration
	timer  *time.Timer
	ending bool
}

// endAgain is when keys that could not be deleted, for a full disk say, are tried again.
const endAgain = time.Second

func newLocalLeases(end func(LeaseID) error) *localLeases {
	// Where they begin differs with every start, so that nobody takes a lease of the last one for his own.
	return &localLeases{end: end, last: LeaseID(rand.Int64N(1 << 62)), live: map[LeaseID]*localLease{}}
}

func (l *localLeases) grant(ttl time.Duration) (LeaseID, error) {
	if ttl <= 0 {
		return 0, fmt.Errorf("a lease of %s: must be longer than nothing", ttl)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, ErrClosed
	}
	l.last++
	id := l.last
	l.live[id] = &localLease{ttl: ttl, timer: time.AfterFunc(ttl, func() { l.expire(id) })}
	return id, nil
}

func (l *localLeases) renew(id LeaseID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, ok := l.live[id]
	switch {
	case l.closed:
		return ErrClosed
	case !ok || one.ending || !one.timer.Stop(): // which fails when it is just about to end
		return fmt.Errorf("lease %x: %w", int64(id), ErrNoLease)
	}
	one.timer.Reset(one.ttl)
	return nil
}

// alive tells whether keys may be put under a lease.
func (l *localLeases) alive(id LeaseID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, ok := l.live[id]
	return ok && !one.ending
}

// expire ends a lease and deletes its keys, later if not now.
func (l *localLeases) expire(id LeaseID) {
	if l.revoke(id) == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if one, ok := l.live[id]; ok && !l.closed {
		one.timer.Reset(endAgain)
	}
}

func (l *localLeases) revoke(id LeaseID) error {
	l.mu.Lock()
	one, ok := l.live[id]
	if ok {
		one.ending = true
	}
	closed := l.closed
	l.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case !ok:
		return nil
	}
	if err := l.end(id); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	one.timer.Stop()
	delete(l.live, id)
	return nil
}

func (l *localLeases) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, one := range l.live {
		one.timer.Stop()
	}
}
