package lock_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
)

var (
	web  = lock.Of(lock.Instance, "default", "web")
	db   = lock.Of(lock.Instance, "default", "db")
	pool = lock.Of(lock.Pool, "fast")
)

var patient = lock.Claim{Action: "update", Patience: lock.Long}

func acquire(t *testing.T, m *lock.Manager, c lock.Claim, wants ...lock.Want) *lock.Held {
	t.Helper()
	h, err := m.Acquire(t.Context(), c, wants...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// later claims in the background and returns what tells of the result.
func later(t *testing.T, m *lock.Manager, c lock.Claim, wants ...lock.Want) (granted *atomic.Bool, result chan error) {
	granted, result = &atomic.Bool{}, make(chan error, 1)
	go func() {
		h, err := m.Acquire(t.Context(), c, wants...)
		if err == nil {
			granted.Store(true)
			defer h.Release()
		}
		result <- err
	}()
	return granted, result
}

func TestOneWriterOrManyReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m lock.Manager
		first := acquire(t, &m, patient, lock.Shared(pool))
		second := acquire(t, &m, patient, lock.Shared(pool), lock.Exclusive(web))
		wrote, result := later(t, &m, patient, lock.Exclusive(pool))
		synctest.Wait()
		if wrote.Load() {
			t.Fatal("a writer beside two readers")
		}
		first.Release()
		synctest.Wait()
		if wrote.Load() {
			t.Fatal("a writer beside a reader")
		}
		second.Release()
		second.Release()
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	})
}

func TestReadersDoNotKeepAWriterOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m lock.Manager
		reader := acquire(t, &m, patient, lock.Shared(pool))
		_, wrote := later(t, &m, patient, lock.Exclusive(pool))
		synctest.Wait()
		late, read := later(t, &m, patient, lock.Shared(pool))
		synctest.Wait()
		if late.Load() {
			t.Error("a reader went past a writer that waits")
		}
		reader.Release()
		if err := errors.Join(<-wrote, <-read); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatFailsHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m lock.Manager
		held := acquire(t, &m, lock.Claim{Action: "delete"}, lock.Exclusive(web))
		if _, err := m.Acquire(t.Context(), lock.Claim{Action: "copy"}, lock.Exclusive(db), lock.Exclusive(web)); err == nil {
			t.Fatal("granted beside its holder")
		}
		acquire(t, &m, lock.Claim{Action: "start"}, lock.Exclusive(db)).Release()
		held.Release()
		acquire(t, &m, lock.Claim{Action: "start"}, lock.Exclusive(web)).Release()
	})
}

func TestBusySaysWithWhat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m lock.Manager
		acquire(t, &m, lock.Claim{Action: "delete"}, lock.Exclusive(web), lock.Exclusive(pool))
		begun := time.Now()
		for object, want := range map[lock.Object]struct {
			text   string
			status int
		}{
			web:  {`Instance is busy running a "delete" operation`, 400},
			pool: {`Storage pool "fast" is busy running a "delete" operation`, 409},
		} {
			_, err := m.Acquire(t.Context(), lock.Claim{Action: "x"}, lock.Shared(object))
			if err == nil || err.Error() != want.text || api.StatusOf(err) != want.status {
				t.Errorf("%v with status %d, want %q with %d", err, api.StatusOf(err), want.text, want.status)
			}
		}
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("waited %s for a holder that is not brief", waited)
		}
		_, err := m.Acquire(t.Context(), patient, lock.Shared(pool))
		if err == nil || !strings.Contains(err.Error(), `busy running a "delete"`) || time.Since(begun) != lock.Bound {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}

func TestShortPatienceWaitsForBriefHolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m lock.Manager
		held := acquire(t, &m, lock.Claim{Action: "update", Brief: true}, lock.Exclusive(web))
		_, result := later(t, &m, lock.Claim{Action: "delete"}, lock.Exclusive(web))
		synctest.Wait()
		held.Release()
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

func TestUnboundedEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m lock.Manager
		held := acquire(t, &m, patient, lock.Exclusive(web))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := m.Acquire(ctx, lock.Claim{Action: "exit", Patience: lock.Unbounded}, lock.Exclusive(web))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		held.Release() // the one that gave up must not be granted it
		acquire(t, &m, lock.Claim{Action: "start"}, lock.Exclusive(web)).Release()
	})
}

func TestTry(t *testing.T) {
	var m lock.Manager
	first, other := m.Try(lock.Claim{Action: "stop"}, lock.Exclusive(web))
	if other != nil || m.Holder(web) != first || m.Holder(db) != nil {
		t.Fatalf("first %v, in its way %v, holder %v", first, other, m.Holder(web))
	}
	if second, other := m.Try(lock.Claim{Action: "exit"}, lock.Exclusive(db), lock.Exclusive(web)); second != nil || other != first || other.Action() != "stop" {
		t.Errorf("second %v, in its way %v", second, other)
	}
	first.Release()
	<-first.Done()
	if again, _ := m.Try(lock.Claim{}, lock.Exclusive(db), lock.Exclusive(web)); again == nil {
		t.Error("what failed kept a lock")
	}
}

func TestClaimsOutOfOrderAreRefused(t *testing.T) {
	var m lock.Manager
	held := acquire(t, &m, patient, lock.Exclusive(pool))
	ctx := held.Context(t.Context())
	if _, err := m.Acquire(ctx, patient, lock.Exclusive(web)); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("an instance after a pool: %v", err)
	}
	if _, err := m.Acquire(ctx, patient, lock.Shared(pool)); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("what it has already, for which it would wait itself: %v", err)
	}
	volume, err := m.Acquire(ctx, patient, lock.Exclusive(lock.Of(lock.Volume, "fast", "v")))
	if err != nil {
		t.Fatal(err)
	}
	volume.Release()
	held.Release()
	if _, err := m.Acquire(ctx, patient, lock.Exclusive(web)); err != nil {
		t.Errorf("after the release: %v", err)
	}
}

// TestStorm has many claims of random objects: the exclusive ones are alone, and none waits for ever.
func TestStorm(t *testing.T) {
	var m lock.Manager
	objects := []lock.Object{web, db, pool, lock.Of(lock.Profile, "default"), lock.Of(lock.IDs)}
	var inside [5]struct{ readers, writers atomic.Int32 }
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 500 {
				picked := rand.Perm(len(objects))[:1+rand.IntN(3)]
				shared := rand.IntN(2) == 0
				var wants []lock.Want
				for _, n := range picked {
					wants = append(wants, lock.Want{Object: objects[n], Shared: shared})
				}
				h, err := m.Acquire(t.Context(), patient, wants...)
				if err != nil {
					t.Error(err)
					return
				}
				for _, n := range picked {
					if shared {
						inside[n].readers.Add(1)
					} else if inside[n].writers.Add(1) != 1 || inside[n].readers.Load() != 0 {
						t.Error("a writer is not alone")
					}
				}
				for _, n := range picked {
					if shared {
						inside[n].readers.Add(-1)
					} else {
						inside[n].writers.Add(-1)
					}
				}
				h.Release()
			}
		})
	}
	all.Wait()
}

// TestTheStrongerWantCounts: what a claim wants both to rely upon and to change, it changes.
func TestTheStrongerWantCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, wants := range [][]lock.Want{{lock.Shared(pool), lock.Exclusive(pool)}, {lock.Exclusive(pool), lock.Shared(pool)}, {lock.Shared(pool), lock.Exclusive(pool), lock.Shared(pool)}} {
			var m lock.Manager
			held := acquire(t, &m, patient, wants...)
			if h, _ := m.Try(lock.Claim{}, lock.Shared(pool)); h != nil {
				t.Errorf("%v: it is shared with others", wants)
			}
			held.Release()
			if h, _ := m.Try(lock.Claim{}, lock.Exclusive(pool)); h == nil {
				t.Errorf("%v: it is held after the release", wants)
			}
		}
	})
}

// TestWhoWaitsBehindOneThatGivesUp is granted what it would have been granted without that one.
func TestWhoWaitsBehindOneThatGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m lock.Manager
		reader := acquire(t, &m, patient, lock.Shared(pool))
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error, 1)
		go func() {
			_, err := m.Acquire(ctx, patient, lock.Exclusive(pool))
			gaveUp <- err
		}()
		synctest.Wait()
		read, result := later(t, &m, patient, lock.Shared(pool))
		synctest.Wait()
		if read.Load() {
			t.Fatal("a reader went past a writer that waits")
		}
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		synctest.Wait()
		if !read.Load() {
			t.Error("a reader waits for a writer that has given up")
		}
		reader.Release()
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

// TestWhatIsKeptIsNobodyElses, although its owner is done with it, until the last that keeps it is too.
func TestWhatIsKeptIsNobodyElses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m lock.Manager
		h := acquire(t, &m, lock.Claim{Action: "recover", Brief: true}, lock.Exclusive(web), lock.Shared(pool))
		ctx := h.Context(t.Context())
		first, ok := h.Keep()
		second, also := h.Keep()
		if !ok || !also {
			t.Fatal("what is held cannot be kept")
		}
		h.Release()
		granted, result := later(t, &m, lock.Claim{Action: "start"}, lock.Exclusive(web))
		first()
		first()
		synctest.Wait()
		if granted.Load() || m.Holder(web) != h {
			t.Error("somebody else has it")
		}
		select {
		case <-h.Done():
			t.Error("it is said to be given back")
		default:
		}
		if held, err := m.Acquire(ctx, patient, lock.Exclusive(db)); err != nil { // its owner has nothing any more
			t.Error(err)
		} else {
			held.Release()
		}
		if _, ok := h.Keep(); ok {
			t.Error("it can be kept once its owner is done with it")
		}
		second()
		<-h.Done()
		if err := <-result; err != nil {
			t.Error(err)
		}
		h.Release()
		acquire(t, &m, patient, lock.Exclusive(web), lock.Exclusive(pool)).Release()
	})
}
