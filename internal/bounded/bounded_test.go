package bounded

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls Calls
		release := make(chan struct{})
		hang := func() (int, error) { <-release; return 1, nil }
		answer := func() (int, error) { return 2, nil }
		do := func(key string, call func() (int, error)) (int, error) {
			return Do(t.Context(), &calls, key, time.Second, call)
		}

		failed := errors.New("failed")
		if n, err := do("a", answer); n != 2 || err != nil {
			t.Error(n, err)
		}
		if _, err := do("a", func() (int, error) { return 0, failed }); !errors.Is(err, failed) {
			t.Error(err)
		}

		began := time.Now()
		if _, err := do("a", hang); !errors.Is(err, ErrHung) || time.Since(began) != time.Second {
			t.Errorf("a call that hangs: %v after %s", err, time.Since(began))
		}
		if _, err := do("a", answer); !errors.Is(err, ErrHung) || time.Since(began) != time.Second {
			t.Errorf("the next one: %v after %s", err, time.Since(began))
		}
		if n, err := do("b", answer); n != 2 || err != nil {
			t.Errorf("one of another key: %d, %v", n, err)
		}

		close(release)
		synctest.Wait()
		if n, err := do("a", answer); n != 2 || err != nil {
			t.Errorf("once it has come back: %d, %v", n, err)
		}
		if len(calls.hung) != 0 {
			t.Errorf("remembered for ever: %v", calls.hung)
		}
	})
}

func TestTheCallersEnd(t *testing.T) {
	var calls Calls
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release := make(chan struct{})
	defer close(release)
	if _, err := Do(ctx, &calls, "a", time.Hour, func() (int, error) { <-release; return 1, nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
