package certificate

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/berthd/berth/api"
)

const (
	firstDelay  = 100 * time.Millisecond
	longestWait = 5 * time.Second
	maxWaiting  = 16              // guesses that wait or are checked at once; more are refused
	maxHosts    = 1024            // addresses that are remembered
	forgetAfter = 5 * time.Minute // since the last wrong guess
)

// limiter slows down whoever guesses the password: each wrong guess from an address doubles the wait before the next
// is looked at, and only one at a time is checked, since a check costs a good deal of work.
type limiter struct {
	check chan struct{} // held while a guess is checked

	mu      sync.Mutex
	waiting int
	wrong   map[string]guesses
}

type guesses struct {
	count int
	last  time.Time
}

func newLimiter() *limiter {
	return &limiter{check: make(chan struct{}, 1), wrong: map[string]guesses{}}
}

// enter waits until a guess from address may be checked; release says how it went.
func (b *limiter) enter(ctx context.Context, address string) (release func(right bool), err error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	wait, err := b.begin(host)
	if err != nil {
		return nil, err
	}
	leave := func() {
		b.mu.Lock()
		b.waiting--
		b.mu.Unlock()
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			leave()
			return nil, ctx.Err()
		}
	}
	select {
	case b.check <- struct{}{}:
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
	return func(right bool) {
		<-b.check
		leave()
		b.note(host, right)
	}, nil
}

func (b *limiter) begin(host string) (time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting >= maxWaiting {
		return 0, api.Errorf(429, "too many attempts")
	}
	b.waiting++
	g, ok := b.wrong[host]
	if !ok || time.Since(g.last) > forgetAfter {
		return 0, nil
	}
	return min(firstDelay<<min(g.count, 10), longestWait), nil
}

func (b *limiter) note(host string, right bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if right {
		delete(b.wrong, host)
		return
	}
	if len(b.wrong) >= maxHosts {
		for h, g := range b.wrong {
			if time.Since(g.last) > forgetAfter || len(b.wrong) >= maxHosts {
				delete(b.wrong, h)
			}
		}
	}
	g := b.wrong[host]
	b.wrong[host] = guesses{count: g.count + 1, last: time.Now()}
}
