package bridge

import (
	"context"
	"fmt"
	"sync"
)

// keyed is a mutex for each key, such as the folder of a dnsmasq. A holder that hangs holds up only those who want the same key,
// and those no longer than their contexts allow.
type keyed struct {
	mu   sync.Mutex
	held map[string]*holder
}

type holder struct {
	turn  chan struct{} // holds one token while somebody has the key
	users int           // who has it or waits for it
}

// lock waits for a key and returns what gives it back.
func (k *keyed) lock(ctx context.Context, key string) (unlock func(), err error) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[string]*holder{}
	}
	h := k.held[key]
	if h == nil {
		h = &holder{turn: make(chan struct{}, 1)}
		k.held[key] = h
	}
	h.users++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(k.held, key)
		}
	}
	select {
	case h.turn <- struct{}{}:
		return func() { <-h.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, fmt.Errorf("wait for %s: %w", key, context.Cause(ctx))
	}
}

// processes keeps starts, stops and reloads of the dnsmasq of one folder apart.
var processes keyed
