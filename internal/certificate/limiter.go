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
func (l *limiter) enter(ctx context.Context, address string) (release func(right bool), err error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	wait, err := l.begin(host)
	if err != nil {
		return nil, err
	}
	leave := func() {
		l.mu.Lock()
		l.waiting--
		l.mu.Unlock()
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
	case l.check <- struct{}{}:
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
	return func(right bool) {
		<-l.check
		leave()
		l.note(host, right)
	}, nil
}

func (l *limiter) begin(host string) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting >= maxWaiting {
		return 0, api.Errorf(429, "too many attempts")
	}
	l.waiting++
	g, ok := l.wrong[host]
	if !ok || time.Since(g.last) > forgetAfter {
		return 0, nil
	}
	return min(firstDelay<<min(g.count, 10), longestWait), nil
}

func (l *limiter) note(host string, right bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if right {
		delete(l.wrong, host)
		return
	}
	if len(l.wrong) >= maxHosts {
		for h, g := range l.wrong {
			if time.Since(g.last) > forgetAfter || len(l.wrong) >= maxHosts {
				delete(l.wrong, h)
			}
		}
	}
	g := l.wrong[host]
	l.wrong[host] = guesses{count: g.count + 1, last: time.Now()}
}
