package storage

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/berthd/berth/api"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
)

// mountPatience is how long callers wait for a pool that is being mounted. If its disk or server hangs, the mount may never
// return, and it cannot be interrupted.
const mountPatience = 10 * time.Second

// opening is a pool that is being mounted, on a goroutine of its own: whoever needs the pool waits for it, and only they.
type opening struct {
	began  time.Time
	done   chan struct{} // closed when the fields below are set
	driver storagedriver.Driver
	err    error
}

// Start mounts every pool; that removes what a killed daemon left unfinished in them, so it comes before anything
// uses a pool. A pool that cannot be mounted, or not in time, is logged and shown as unavailable; one that failed is tried
// again when it is used.
func (s *Service) Start(ctx context.Context) error {
	if err := os.MkdirAll(s.poolsFolder(), 0o711); err != nil {
		return err
	}
	var all sync.WaitGroup
	for _, row := range s.pools.List() {
		all.Go(func() {
			if _, err := s.driver(ctx, row.Path[0]); err != nil {
				slog.Error("storage pool is unavailable", "pool", row.Path[0], "err", err)
			}
		})
	}
	all.Wait()
	return ctx.Err()
}

// Close ends the mounting of pools and what else runs in the background, and waits for it, but not for what hangs.
func (s *Service) Close() {
	s.end()
	s.mu.Lock()
	var pending []*opening
	for _, o := range s.opening {
		pending = append(pending, o)
	}
	s.mu.Unlock()
	limit := time.NewTimer(time.Second)
	defer limit.Stop()
	for _, o := range pending {
		select {
		case <-o.done:
		case <-limit.C:
			return
		}
	}
	ended := make(chan struct{})
	go func() { s.tasks.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-limit.C:
	}
}

// driver returns the driver of a pool, mounted. No lock is held while a pool is mounted, so that one that hangs is in nobody
// else's way; whoever asks for it is told so once it has taken longer than s.patience.
func (s *Service) driver(ctx context.Context, pool string) (storagedriver.Driver, error) {
	row, ok := s.pools.Get(pool)
	if !ok {
		return nil, errNoPool()
	}
	d, o, err := s.openingOf(pool, row.Value)
	if p, ok := d.(storagedriver.Presence); ok && !p.Present() {
		s.lost(pool, d)
		d, o, err = s.openingOf(pool, row.Value)
	}
	if d != nil || err != nil {
		return d, err
	}
	late := time.NewTimer(time.Until(o.began.Add(s.patience)))
	defer late.Stop()
	select {
	case <-o.done:
		return o.driver, o.err
	case <-late.C:
		return nil, errStillMounting(pool)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// openingOf returns the driver of a pool that is mounted, or else its mounting, which it begins if need be.
func (s *Service) openingOf(pool string, r *poolRecord) (storagedriver.Driver, *opening, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.open[pool]; d != nil {
		return d, nil, nil
	}
	if o := s.opening[pool]; o != nil {
		return nil, o, nil
	}
	d, err := s.newDriver(pool, r)
	if err != nil {
		return nil, nil, err
	}
	o := &opening{began: time.Now(), done: make(chan struct{})}
	s.opening[pool] = o
	go s.mountPool(pool, d, o, s.patience)
	return nil, o, nil
}

func (s *Service) mountPool(pool string, d storagedriver.Driver, o *opening, patience time.Duration) {
	err := d.Mount(s.life)
	s.mu.Lock()
	delete(s.opening, pool)
	if err != nil {
		o.err = api.Unavailable("Storage pool %q unavailable: %w", pool, err)
	} else {
		o.driver, s.open[pool] = d, d
	}
	s.mu.Unlock()
	close(o.done)
	if late := time.Since(o.began); late > patience {
		slog.Warn("The mounting of a storage pool took long", "pool", pool, "took", late, "err", err)
	}
}

// mounting tells whether a pool is still being mounted.
func (s *Service) mounting(pool string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opening[pool] != nil
}

// lost takes a pool out of use that somebody has unmounted: it is mounted again when it is used, if it can be.
func (s *Service) lost(pool string, d storagedriver.Driver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[pool] == d {
		slog.Warn("A storage pool is not what was mounted any more", "pool", pool)
		delete(s.open, pool)
	}
}

// shut takes a pool out of use that is about to be unmounted. One that is still being mounted cannot be.
func (s *Service) shut(pool string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opening[pool] != nil {
		return errStillMounting(pool)
	}
	delete(s.open, pool)
	return nil
}

func errStillMounting(pool string) error {
	return api.Unavailable("Storage pool %q unavailable: still being mounted", pool)
}
