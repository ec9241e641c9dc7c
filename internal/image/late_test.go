package image

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/store"
)

// hanging is a set of pools that cannot be reached for now, and counts the copies dropped.
type hanging struct {
	err     error
	dropped int
}

func (h *hanging) drop(context.Context, string) error {
	if h.err != nil {
		return errors.Join(nil, h.err)
	}
	h.dropped++
	return nil
}

// retried has the journal make attempts at what is left, in the time of a synctest.
func retried(j *journal.Journal) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); j.Retry(ctx) }()
	time.Sleep(10 * time.Minute)
	cancel()
	<-done
}

// TestAPoolThatHangsDoesNotHoldBackADelete: its copy goes when it is there again, unless the image is.
func TestAPoolThatHangsDoesNotHoldBackADelete(t *testing.T) {
	for name, again := range map[string]bool{"for good": false, "imported again": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				s, j := newService(t, store.NewMemory(), t.TempDir())
				defer func() { _ = s.Store.Close() }()
				pools := &hanging{err: api.Unavailable("Storage pool %q unavailable", "p")}
				s.OnDelete = pools.drop
				data := unified(t)
				img, err := importFile(t, s, data, Request{})
				if err != nil {
					t.Fatal(err)
				}
				if err := s.delete(ctx, "default", img.Fingerprint); err != nil {
					t.Fatal(err)
				}
				if _, _, err := s.Get(ctx, "default", img.Fingerprint); !api.IsNotFound(err) {
					t.Errorf("after the delete: %v", err)
				}
				if _, err := os.Stat(s.paths(img.Fingerprint)[0]); !os.IsNotExist(err) {
					t.Errorf("its file: %v", err)
				}
				retried(j)
				if n := j.Pending(); n != 1 {
					t.Errorf("%d entries in the journal while the pool hangs", n)
				}
				want := 1
				if again {
					want = 0
					if _, err := importFile(t, s, data, Request{}); err != nil {
						t.Fatal(err)
					}
				}
				pools.err = nil
				retried(j)
				if n := j.Pending(); n != 0 || pools.dropped != want {
					t.Errorf("%d entries left, copies dropped %d times, want %d", n, pools.dropped, want)
				}
				if _, _, err := s.Get(ctx, "default", img.Fingerprint); (err == nil) != again {
					t.Errorf("in the end: %v", err)
				}
			})
		})
	}
}

// TestLateDeletionOutlivesRestart: the daemon that comes after the one that deleted the image drops the copy, when the pool comes, and not only
// the daemon after the next.
func TestLateDeletionOutlivesRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, dir := store.NewMemory(), t.TempDir()
		pools := &hanging{err: api.Unavailable("Storage pool %q unavailable", "p")}
		s, _ := newService(t, engine, dir)
		defer func() { _ = s.Store.Close() }()
		s.OnDelete = pools.drop
		img, err := importFile(t, s, unified(t), Request{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.delete(t.Context(), "default", img.Fingerprint); err != nil {
			t.Fatal(err)
		}
		next, j := newService(t, engine, dir)
		defer func() { _ = next.Store.Close() }()
		next.OnDelete = pools.drop
		if err := j.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		retried(j)
		if n := j.Pending(); n != 1 || pools.dropped != 0 {
			t.Errorf("%d entries, and copies dropped %d times, while the pool is away", n, pools.dropped)
		}
		pools.err = nil
		retried(j)
		if n := j.Pending(); n != 0 || pools.dropped != 1 {
			t.Errorf("%d entries are left, and copies dropped %d times, once it is there", n, pools.dropped)
		}
	})
}
