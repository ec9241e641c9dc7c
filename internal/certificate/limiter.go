package certificate

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/berthd/berth/api"
)

const (
	firstDelay     = 100 * time.Millisecond
	longestWait    = 5 * time.Second
	maxWaiting     = 64              // guesses that wait or are checked at once; more are refused
	maxHostWaiting = 4               // those of one address, so that it does not keep others out
	maxHosts       = 1024            // addresses that are remembered
	forgetAfter    = 5 * time.Minute // since the last wrong guess
)

var errTooMany = api.Errorf(429, "too many attempts")

// limiter slows down whoever guesses the password: each wrong guess from an address doubles the wait before the next
// is looked at, also of those that come at once, and only one at a time is checked, since a check costs a good deal of work.
type limiter struct {
	check chan struct{} // held while a guess is checked

	mu      sync.Mutex
	waiting int
	hosts   map[string]*guesser
}

// guesser is an address from which there are guesses, or were.
type guesser struct {
	turn    chan struct{} // held by the guess that waits for its time, or is checked
	waiting int
	wrong   int
	last    time.Time // of a wrong guess
}

func newLimiter() *limiter {
	return &limiter{check: make(chan struct{}, 1), hosts: map[string]*guesser{}}
}

// enter waits until a guess from address may be checked; release says how it went.
func (l *limiter) enter(ctx context.Context, address string) (release func(right bool), err error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	host = network(host)
	g, err := l.begin(host)
	if err != nil {
		return nil, err
	}
	if err := l.await(ctx, g); err != nil {
		l.leave(g)
		return nil, err
	}
	return func(right bool) {
		l.note(g, right)
		<-l.check
		<-g.turn
		l.leave(g)
	}, nil
}

// await takes the turn of an address, waits for its time, and then takes that of all.
func (l *limiter) await(ctx context.Context, g *guesser) error {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	timer := time.NewTimer(l.wait(g))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		<-g.turn
		return ctx.Err()
	}
	select {
	case l.check <- struct{}{}:
		return nil
	case <-ctx.Done():
		<-g.turn
		return ctx.Err()
	}
}

func (l *limiter) begin(host string) (*guesser, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.hosts[host]
	if l.waiting >= maxWaiting || g != nil && g.waiting >= maxHostWaiting {
		return nil, errTooMany
	}
	if g == nil {
		l.makeRoom()
		g = &guesser{turn: make(chan struct{}, 1)}
		l.hosts[host] = g
	}
	l.waiting++
	g.waiting++
	return g, nil
}

// makeRoom forgets addresses whose last guess is long ago, and one more if there are too many.
func (l *limiter) makeRoom() {
	if len(l.hosts) < maxHosts {
		return
	}
	oldest := ""
	for host, g := range l.hosts {
		switch {
		case g.waiting > 0:
		case time.Since(g.last) > forgetAfter:
			delete(l.hosts, host)
		case oldest == "" || g.last.Before(l.hosts[oldest].last):
			oldest = host
		}
	}
	if len(l.hosts) >= maxHosts {
		delete(l.hosts, oldest)
	}
}

func (l *limiter) leave(g *guesser) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
	g.waiting--
}

// wait is how long the next guess from an address has to.
func (l *limiter) wait(g *guesser) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g.wrong == 0 || time.Since(g.last) > forgetAfter {
		return 0
	}
	return min(firstDelay<<min(g.wrong, 10), longestWait)
}

func (l *limiter) note(g *guesser, right bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if right {
		g.wrong = 0
		return
	}
	if time.Since(g.last) > forgetAfter {
		g.wrong = 0
	}
	g.wrong++
	g.last = time.Now()
}

// network is what one host has of addresses: of IPv6 as many as it likes, in a /64.
func network(host string) string {
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.Is6() || ip.Is4In6() {
		return host
	}
	if p, err := ip.WithZone("").Prefix(64); err == nil {
		return p.String()
	}
	return host
}
