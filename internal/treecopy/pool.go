package treecopy

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// pool lends a bounded number of goroutines to whoever has work to split. Work that finds no helper free is done by
// the one who has it, so nothing ever waits for a helper and the pool cannot deadlock.
type pool struct {
	ctx   context.Context
	free  chan struct{}
	first atomic.Pointer[error]
}

func newPool(ctx context.Context, workers int) *pool {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	return &pool{ctx: ctx, free: make(chan struct{}, max(workers-1, 0))}
}

// do runs work, by a helper if one is free; wg is done when work is.
func (c *pool) do(wg *sync.WaitGroup, work func() error) {
	select {
	case c.free <- struct{}{}:
		wg.Go(func() {
			defer func() { <-c.free }()
			c.note(work())
		})
	default:
		c.note(work())
	}
}

// note keeps the first error.
func (c *pool) note(err error) {
	if err != nil {
		c.first.CompareAndSwap(nil, &err)
	}
}

// err is the first error, or that the context has ended.
func (c *pool) err() error {
	if p := c.first.Load(); p != nil {
		return *p
	}
	return c.ctx.Err()
}
