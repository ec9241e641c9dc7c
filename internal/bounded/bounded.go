// Package bounded makes calls that may hang in the kernel, on a disk or a server that does not answer, and waits for each
// only so long.
package bounded

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrHung says that a call did not come back in time, or that an earlier one of the same key still has not.
var ErrHung = errors.New("does not answer")

// Calls remembers which calls hang, by a key that names what they are about. The zero value is ready.
type Calls struct {
	mu   sync.Mutex
	hung map[string]int
}

// Do makes a call on a goroutine of its own and waits for it until limit has passed or ctx ends. A call that hangs is left behind,
// as nothing can interrupt it; until it returns, others of its key fail at once with ErrHung, so that hanging calls do not pile up.
func Do[T any](ctx context.Context, c *Calls, key string, limit time.Duration, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if c.hangs(key) {
		return none, ErrHung
	}
	done := make(chan result, 1)
	go func() {
		value, err := call()
		done <- result{value, err}
	}()
	late := time.NewTimer(limit)
	defer late.Stop()
	var err error
	select {
	case r := <-done:
		return r.value, r.err
	case <-late.C:
		err = ErrHung
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.add(key, 1)
	go func() {
		<-done
		c.add(key, -1)
	}()
	return none, err
}

func (c *Calls) hangs(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hung[key] > 0
}

func (c *Calls) add(key string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hung == nil {
		c.hung = map[string]int{}
	}
	if c.hung[key] += n; c.hung[key] == 0 {
		delete(c.hung, key)
	}
}
