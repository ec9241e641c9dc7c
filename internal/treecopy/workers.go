package treecopy

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// workers is a bounded number of goroutines, lent to whoever has work to split. Work that finds no helper free is done by
// the one who has it, so nothing ever waits for a helper, and there is no deadlock.
type workers struct {
	ctx   context.Context
	free  chan struct{}
	first atomic.Pointer[error]
}

func newWorkers(ctx context.Context, count int) *workers {
	if count <= 0 {
		count = runtime.GOMAXPROCS(0)
	}
	return &workers{ctx: ctx, free: make(chan struct{}, max(count-1, 0))}
}

// do runs work, by a helper if one is free; wg is done when work is.
func (w *workers) do(wg *sync.WaitGroup, work func() error) {
	select {
	case w.free <- struct{}{}:
		wg.Go(func() {
			defer func() { <-w.free }()
			w.note(work())
		})
	default:
		w.note(work())
	}
}

// note keeps the first error.
func (w *workers) note(err error) {
	if err != nil {
		w.first.CompareAndSwap(nil, &err)
	}
}

// err is the first error, or that the context has ended.
func (w *workers) err() error {
	if p := w.first.Load(); p != nil {
		return *p
	}
	return w.ctx.Err()
}
