package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Session is a lease that is renewed for as long as its holder lives.
type Session struct {
	leases Leases
	id     LeaseID
	ttl    time.Duration
	cancel context.CancelFunc
	lost   chan struct{}
	renew  sync.WaitGroup
}

// renewals is how often a lease is renewed within its time to live.
const renewals = 3

// NewSession grants a lease and renews it until Close. ctx bounds the grant alone.
func NewSession(ctx context.Context, leases Leases, ttl time.Duration) (*Session, error) {
	begun := time.Now()
	id, err := leases.Grant(ctx, ttl)
	if err != nil {
		return nil, fmt.Errorf("lease of %s: %w", ttl, err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &Session{leases: leases, id: id, ttl: ttl, cancel: cancel, lost: make(chan struct{})}
	s.renew.Go(func() { s.renewLease(ctx, begun) })
	return s, nil
}

// Lease is what keys are put under.
func (s *Session) Lease() LeaseID { return s.id }

// Lost is closed as soon as the lease may have ended: nobody who relies on it may go on.
func (s *Session) Lost() <-chan struct{} { return s.lost }

// Close ends the session and deletes its keys.
func (s *Session) Close(ctx context.Context) error {
	s.cancel()
	s.renew.Wait()
	return s.leases.Revoke(ctx, s.id)
}

// renewLease renews the lease until Close. The lease lasts at least ttl from the moment at which the last successful renewal was sent.
func (s *Session) renewLease(ctx context.Context, granted time.Time) {
	defer close(s.lost)
	tick := time.NewTicker(s.ttl / renewals)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asked := time.Now()
		one, cancel := context.WithDeadline(ctx, granted.Add(s.ttl))
		err := s.leases.Renew(one, s.id)
		cancel()
		switch {
		case err == nil:
			granted = asked
		case errors.Is(err, ErrNoLease), errors.Is(err, ErrClosed), time.Since(granted) >= s.ttl:
			return
		}
	}
}
