package expiry

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// shelf is things with dates.
type shelf struct {
	mu    sync.Mutex
	dates map[string]time.Time
	fails map[string]int // how often a deletion fails
	inUse map[string]bool
	tried int
}

func (s *shelf) all() iter.Seq2[[]string, time.Time] {
	return func(yield func([]string, time.Time) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for name, at := range s.dates {
			if !yield([]string{"p", name}, at) {
				return
			}
		}
	}
}

func (s *shelf) remove(_ context.Context, path []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried++
	if s.inUse[path[1]] {
		return fmt.Errorf("%w: copy", ErrBusy)
	}
	if s.fails[path[1]] > 0 {
		s.fails[path[1]]--
		return errors.New("broken")
	}
	delete(s.dates, path[1])
	return nil
}

func TestWhatExpiresGoesInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		now := time.Now()
		s := &shelf{fails: map[string]int{"stubborn": 1}, dates: map[string]time.Time{
			"past": now.Add(-time.Hour), "soon": now.Add(time.Minute), "stubborn": now.Add(2 * time.Minute), "far": now.Add(100 * time.Hour),
			"never": {}, "epoch": time.Unix(0, 0),
		}}
		p := New()
		p.Dates, p.Delete, p.Log = s.all, s.remove, slog.New(slog.NewTextHandler(&log, nil))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.Run(ctx) }()
		left := func(names ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			s.mu.Lock()
			for name := range s.dates {
				got = append(got, name)
			}
			s.mu.Unlock()
			slices.Sort(got)
			if !slices.Equal(got, names) {
				t.Errorf("after %s: %q is left, want %q", time.Since(now), got, names)
			}
		}
		left("epoch", "far", "never", "past", "soon", "stubborn")
		time.Sleep(time.Minute)
		left("epoch", "far", "never", "stubborn")
		time.Sleep(time.Minute)
		left("epoch", "far", "never", "stubborn") // it failed
		s.mu.Lock()
		tried := s.tried
		s.mu.Unlock()
		if !strings.Contains(log.String(), "snapshot=p/stubborn") || tried != 3 {
			t.Errorf("%d tries, and the log says %q", tried, &log)
		}
		time.Sleep(again)
		left("epoch", "far", "never")
		s.mu.Lock()
		s.dates["far"] = time.Now().Add(time.Second)
		s.mu.Unlock()
		p.Changed()
		p.Changed() // nobody is blocked by a second
		synctest.Wait()
		time.Sleep(time.Second)
		left("epoch", "never")
		// A date that has passed already leaves a minute, also when others are changed meanwhile, but not for ever.
		set := func(name string) {
			s.mu.Lock()
			s.dates[name] = time.Now().Add(-time.Hour)
			s.mu.Unlock()
			p.Changed()
			synctest.Wait()
		}
		set("past")
		time.Sleep(grace - time.Second)
		left("epoch", "never", "past")
		time.Sleep(time.Second)
		left("epoch", "never")
		time.Sleep(grace)
		set("past")
		for range int(longestGrace/grace) * 2 {
			left("epoch", "never", "past")
			time.Sleep(grace / 2)
			p.Changed()
		}
		left("epoch", "never")
		cancel()
		<-done
	})
}

// TestWhatIsInUseGoesSoonAfter, and keeps nothing else waiting. That it is in use is no failure.
func TestWhatIsInUseGoesSoonAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		now := time.Now()
		s := &shelf{inUse: map[string]bool{"used": true}, dates: map[string]time.Time{"used": now.Add(time.Hour), "other": now.Add(2 * time.Hour)}}
		p := New()
		p.Dates, p.Delete, p.Log = s.all, s.remove, slog.New(slog.NewTextHandler(&log, nil))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go p.Run(ctx)
		left := func() int {
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.dates)
		}
		time.Sleep(2 * time.Hour)
		if n := left(); n != 1 {
			t.Errorf("%d are left", n)
		}
		s.mu.Lock()
		s.inUse = nil
		s.mu.Unlock()
		time.Sleep(soon)
		if n := left(); n != 0 || log.Len() > 0 {
			t.Errorf("%d are left, and the log says %q", n, &log)
		}
	})
}

func TestAges(t *testing.T) {
	at := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Time{
		"":            {},
		"1d":          at.AddDate(0, 0, 1),
		"1M 2H 3d 4w": at.AddDate(0, 0, 31).Add(2*time.Hour + time.Minute),
		"5m 6y":       at.AddDate(6, 5, 0),
	} {
		e, err := Parse(v)
		if err != nil || !e.After(at).Equal(want) {
			t.Errorf("%q: %v %v", v, e.After(at), err)
		}
	}
	for _, v := range []string{"x", "1", "1d 2d", "-1d", "1.5d"} {
		if _, err := Parse(v); err == nil {
			t.Errorf("%q was taken", v)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "1M 2H 3d 4w 5m 6y", "999999y", "1d 1d", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if a, err := Parse(v); err == nil && a.After(time.Unix(1, 0)).Before(time.Time{}) {
			t.Errorf("%q: %v", v, a.After(time.Unix(1, 0)))
		}
	})
}

// TestPrunerKeepsGraceAfterStart: what was given a date in the past just before the daemon ended has its minute all the same.
func TestPrunerKeepsGraceAfterStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{dates: map[string]time.Time{"past": time.Now().Add(-time.Hour)}}
		p := New()
		p.Dates, p.Delete, p.Log = s.all, s.remove, slog.New(slog.DiscardHandler)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.Run(ctx) }()
		left := func() int {
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.dates)
		}
		time.Sleep(grace - time.Second)
		if left() != 1 {
			t.Error("it goes at once")
		}
		time.Sleep(2 * time.Second)
		if left() != 0 {
			t.Error("it stays")
		}
		cancel()
		<-done
	})
}

// TestAGroupThatHangsKeepsOnlyItsOwn: the others go in their time, and its own once it answers.
func TestAGroupThatHangsKeepsOnlyItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		s := &shelf{dates: map[string]time.Time{"hung/1": now.Add(time.Hour), "hung/2": now.Add(2 * time.Hour), "fast/1": now.Add(time.Hour), "fast/2": now.Add(3 * time.Hour)}}
		answer := make(chan struct{})
		p := New()
		p.Dates, p.Log = s.all, slog.New(slog.DiscardHandler)
		p.Group = func(path []string) string { group, _, _ := strings.Cut(path[1], "/"); return group }
		p.Delete = func(ctx context.Context, path []string) error {
			if strings.HasPrefix(path[1], "hung") {
				<-answer
			}
			return s.remove(ctx, path)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.Run(ctx) }()
		left := func(want ...string) {
			t.Helper()
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if got := slices.Sorted(maps.Keys(s.dates)); !slices.Equal(got, want) {
				t.Errorf("after %s: %q is left, want %q", time.Since(now), got, want)
			}
		}
		time.Sleep(time.Hour)
		left("fast/2", "hung/1", "hung/2")
		time.Sleep(2 * time.Hour)
		left("hung/1", "hung/2")
		close(answer)
		left()
		cancel()
		<-done
	})
}
