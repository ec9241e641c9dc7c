package image

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// twoShops are a server that answers nobody once it is on, and another.
type twoShops struct {
	shop
	on    atomic.Bool
	asked atomic.Int32
}

func (r *twoShops) Describe(ctx context.Context, src api.ImagesPostSource) (*api.Image, error) {
	if src.Server != "https://slow" || !r.on.Load() {
		return r.shop.Describe(ctx, src)
	}
	r.asked.Add(1)
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestASlowSourceHoldsUpItsOwnProjectAlone, with however many images.
func TestASlowSourceHoldsUpItsOwnProjectAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		s, _ := newService(t, store.NewMemory(), t.TempDir())
		defer func() { _ = s.Store.Close() }()
		far := &twoShops{}
		s.Remote, s.Setting = far, func(_, key string) string { return map[string]string{"images.auto_update_interval": "6"}[key] }
		pull := func(project, server string) {
			src := api.ImagesPostSource{ImageSource: api.ImageSource{Server: server, Alias: "web"}}
			if _, err := s.pull(ctx, operation.NoProgress{}, src, Request{Project: project, AutoUpdate: true}); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 2 * updatesAtOnce {
			far.sell(unified(t, file{name: "rootfs/n", data: fmt.Sprint(n)}))
			pull("blue", "https://slow")
		}
		pull("green", "https://fast")
		far.on.Store(true)
		far.sell(unified(t))
		var upkeep sync.WaitGroup
		upkeep.Go(func() { s.Upkeep(ctx) })
		time.Sleep(time.Minute)
		if got := s.Fingerprints("green"); len(got) != 1 || got[0] != far.fingerprint() || far.asked.Load() != 1 {
			t.Errorf("green has %v of %v, and the slow server was asked %d times", got, far.fingerprint(), far.asked.Load())
		}
		time.Sleep(7 * time.Hour) // over the next round of them
		if n := far.asked.Load(); n != 4 {
			t.Errorf("the slow server was asked %d times", n)
		}
		cancel()
		upkeep.Wait()
	})
}
