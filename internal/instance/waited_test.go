package instance

import (
	"os"
	"testing"
	"testing/synctest"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
)

// The tests of this file have calls wait for somebody who has the instance: what they saw before is not so any more when their turn comes.

// others has the instances of these names until release.
func (h *house) others(names ...string) (release func()) {
	h.t.Helper()
	var wants []lock.Want
	for _, name := range names {
		wants = append(wants, lock.Exclusive(lock.ForInstance("default", name)))
	}
	held, err := h.Locks.Acquire(h.t.Context(), lock.Claim{Action: "snapshot", Brief: true}, wants...)
	h.do(err)
	return held.Release
}

// waiting begins a call, which is to wait for others, and returns what gives its result.
func waiting(call func() error) (result func() error) {
	done := make(chan error, 1)
	go func() { done <- call() }()
	synctest.Wait()
	return func() error { return <-done }
}

// TestTwoMovesToOnePool: the second finds the instance where it is to be, and leaves it there.
func TestTwoMovesToOnePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.create("c1", nil)
		h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s0"})))
		move := func() error {
			return h.run(h.Post(t.Context(), "default", "c1", api.InstancePost{Migration: true, Pool: "p2"}))
		}
		release := h.others("c1")
		first := waiting(move)
		second := waiting(move)
		renamed := waiting(func() error {
			return h.run(h.Post(t.Context(), "default", "c1", api.InstancePost{Migration: true, Pool: "p2", Name: "c2"}))
		})
		release()
		h.do(first())
		if err := second(); err == nil || err.Error() != `Instance is on storage pool "p2" already` {
			t.Errorf("the second move: %v", err)
		}
		h.do(renamed())
		row, err := h.get("default", "c2")
		h.do(err)
		for _, v := range h.volumesOf(row.Value) {
			if _, err := os.Stat(h.Volumes.Path(v)); err != nil || v.Pool != "p2" {
				t.Errorf("%+v: %v", v, err)
			}
		}
		h.nothingLeft()
	})
}
