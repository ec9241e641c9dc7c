package instance

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestSideBySide: as many at a time as there may be, each once and with its place, and all before it returns.
func TestSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := make([]int, 3*atOnce)
		for n := range list {
			list[n] = 10 * n
		}
		var now atomic.Int32
		seen, goOn, done := make([]int, len(list)), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			sideBySide(list, func(n, one int) {
				now.Add(1)
				<-goOn
				seen[n] += one
				now.Add(-1)
			})
		}()
		synctest.Wait()
		if got := now.Load(); got != atOnce {
			t.Errorf("%d at a time", got)
		}
		select {
		case <-done:
			t.Error("it has returned before the calls have")
		default:
		}
		close(goOn)
		<-done
		if !slices.Equal(seen, list) {
			t.Errorf("seen: %v", seen)
		}
		sideBySide(nil, func(int, int) { t.Error("called for nothing") })
	})
}
