package instance

import (
	"testing"

	"github.com/berthd/berth/api"
)

// TestTheRestOfAMoveGoesFromBesideALaterInstanceOfItsName: what its pool did not give back goes by its identity, and nothing of the other does.
func TestTheRestOfAMoveGoesFromBesideALaterInstanceOfItsName(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.takeSnapshots("default", "c1", "s0", "s1")
	old := h.stored("c1")
	had := h.volumesOf(old)
	kind, c := moveEntry(old, "p2", nil)
	c = movedEntry(c, nil)
	c.NewPool, c.Volumes = "", had
	entry, err := h.Journal.Begin(t.Context(), kind, c)
	h.do(err)
	h.do(h.run(h.Delete(t.Context(), "default", "c1")))
	h.create("c1", nil)
	h.takeSnapshots("default", "c1", "s1", "s2")
	h.volumes.bears = map[string]string{h.volumes.Path(had[1]): had[1].UUID}
	h.do(h.volumes.CreateEmpty(t.Context(), had[1])) // s0, the last to go
	now := h.volumesOf(h.stored("c1"))
	for _, v := range now {
		h.volumes.bears[h.volumes.Path(v)] = v.UUID
	}
	h.do(h.recoverMoveRest(t.Context(), c))
	h.do(entry.Close(t.Context()))
	if had[1].Snapshot != "s0" || h.exists(h.volumes.Path(had[1])) {
		t.Errorf("%q is left", had[1].Snapshot)
	}
	for _, v := range now {
		if _, listed := h.volumes.table.Get(h.volumes.key(v)...); !h.exists(h.volumes.Path(v)) || !listed {
			t.Errorf("%q of the later instance: there is a volume: %v, listed: %v", v.Snapshot, h.exists(h.volumes.Path(v)), listed)
		}
	}
	h.do(h.action("c1", "start"))
	h.do(h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "stop", Force: true})))
	h.nothingLeft()
}
