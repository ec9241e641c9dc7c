package metrics

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/berthd/berth/internal/instance"
)

// stuckHouse measures for as long as somebody holds it.
type stuckHouse struct{ held chan struct{} }

func (h stuckHouse) Measure(context.Context) []instance.Metrics {
	<-h.held
	return []instance.Metrics{guest("default", "c1")}
}

func (stuckHouse) Counts() []instance.Count { return nil }

// TestAScrapeBehindAStuckOneEndsWithItsRequest, and the figures are those of the one that was stuck once it has them.
func TestAScrapeBehindAStuckOneEndsWithItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := stuckHouse{make(chan struct{})}
		s := New(Deps{Instances: h})
		first, second := make(chan error, 1), make(chan error, 1)
		scrape := func(ctx context.Context, done chan<- error) {
			_, err := s.Families(ctx, nil, true)
			done <- err
		}
		go scrape(t.Context(), first)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		go scrape(ctx, second)
		synctest.Wait()
		cancel()
		synctest.Wait()
		select {
		case err := <-second:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		default:
			t.Error("it waits on, though nobody waits for it")
		}
		close(h.held)
		if err := <-first; err != nil {
			t.Error(err)
		}
		if families, err := s.Families(t.Context(), nil, false); err != nil || len(families) == 0 {
			t.Errorf("%d series, %v", len(families), err)
		}
	})
}
