package instance

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
)

// Dates that stand for "never", or for a day that nobody will see, delete no snapshot; those long past delete it once the grace of a start is over.
func TestExtremeDates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.create("c1", nil)
		for name, at := range map[string]time.Time{
			"zero": {}, "epoch": time.Unix(0, 0), "before-epoch": time.Unix(-1, 0),
			"last": time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), "beyond": time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -12*3600)),
			"first": time.Date(0, 1, 1, 0, 0, 0, 0, time.FixedZone("", 12*3600)), "past": time.Unix(1, 0), "now": time.Now(),
		} {
			h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: name, ExpiresAt: &at})))
		}
		beyond := api.InstanceSnapshotPut{ExpiresAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -12*3600))}
		h.do(h.run(h.UpdateSnapshot(t.Context(), "default", "c1", "zero", beyond, anyRevision)))
		h.PruneSnapshots()
		synctest.Wait()
		has := func(want ...string) {
			t.Helper()
			var got []string
			for _, row := range h.snapshots.List("default", "c1") {
				got = append(got, row.Path[2])
			}
			if !slices.Equal(got, want) {
				t.Errorf("there are %q, want %q", got, want)
			}
		}
		has("before-epoch", "beyond", "epoch", "first", "last", "now", "past", "zero")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		has("before-epoch", "beyond", "epoch", "first", "last", "zero")
		time.Sleep(100 * 365 * 24 * time.Hour)
		has("before-epoch", "beyond", "epoch", "first", "last", "zero")
		h.Close()
	})
}

// The largest ages that snapshots.expiry takes lead past the years that a date can have in JSON.
func TestExtremeAges(t *testing.T) {
	for _, age := range []string{"999999y", "999999m", "999999w 999999d", "999999H 999999M 999999S", "0d"} {
		h := newHouse(t, nil)
		h.create("c1", func(r *api.InstancesPost) { r.Config = map[string]string{"snapshots.expiry": age} })
		h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s"})))
		snap, _, err := h.Service.Snapshot(t.Context(), "default", "c1", "s")
		h.do(err)
		if age != "0d" && snap.ExpiresAt.Before(time.Now().AddDate(100, 0, 0)) {
			t.Errorf("%s: it expires at %s", age, snap.ExpiresAt)
		}
		h.do(h.run(h.Delete(t.Context(), "default", "c1")))
	}
}
