package store

import (
	"context"
	"sync"
	"sync/atomic"
)

// progress is a revision that grows, for others to wait for.
type progress struct {
	at atomic.Uint64

	mu    sync.Mutex
	moved chan struct{} // closed when at grows; nil while nobody waits
	ended bool
}

func (p *progress) now() Revision { return Revision(p.at.Load()) }

// reach says that all up to rev is there.
func (p *progress) reach(rev Revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if uint64(rev) > p.at.Load() {
		p.at.Store(uint64(rev))
	}
	p.wake()
}

// end says that there is no more to come.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.wake()
}

func (p *progress) wake() {
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// wait returns once rev has been reached. Errors: ctx's, or ErrClosed when it never will be.
func (p *progress) wait(ctx context.Context, rev Revision) error {
	for p.now() < rev {
		p.mu.Lock()
		if p.moved == nil {
			p.moved = make(chan struct{})
		}
		moved, ended, there := p.moved, p.ended, p.now() >= rev
		p.mu.Unlock()
		switch {
		case there:
			return nil
		case ended:
			return ErrClosed
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
