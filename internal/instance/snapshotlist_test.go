package instance

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/berthd/berth/internal/device"
)

func TestWrittenSnapshotsAreTheSnapshots(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	for n, change := range []func(*Snapshot){
		func(*Snapshot) {},
		func(s *Snapshot) { s.ExpiresAt = time.Now().UTC() },
		func(s *Snapshot) { s.LastUsedAt = time.Now().In(time.FixedZone("", 90*60)) },
		func(s *Snapshot) { s.Ephemeral = true },
		func(s *Snapshot) { s.Stateful, s.Architecture = true, `"<a&b>` },
		func(s *Snapshot) { s.Config["user.created_at"] = `,"created_at":"",<&>` },
		func(s *Snapshot) { s.Config, s.Devices, s.Profiles = nil, nil, nil },
		func(s *Snapshot) { s.Config, s.Profiles = map[string]string{}, []string{} },
		func(s *Snapshot) { s.Devices["eth0"] = device.Config{"type": "nic"} },
		func(s *Snapshot) { s.Profiles = []string{"default", "gone"} },
		func(s *Snapshot) { s.Profiles = []string{"default"} },
	} {
		snap := &Snapshot{Body: oldBody(1)}
		snap.CreatedAt = snap.CreatedAt.Add(time.Duration(n) * time.Hour)
		change(snap)
		for _, name := range []string{"a", `b<&>"`} {
			_, err := h.Store.Commit(t.Context(), h.snapshots.Put(snap, "default", "c1", fmt.Sprint(name, n)))
			h.do(err)
		}
		h.checkWritten()
	}
}

// TestWrittenSnapshotsAreCheap guards that a list encodes nothing for each of an instance's snapshots that another has had
// encoded, whether they were loaded or committed.
func TestWrittenSnapshotsAreCheap(t *testing.T) {
	cost := func(each int, again bool) float64 {
		h := newHouse(t, nil)
		addHistory(t, h.Store, h.instances, h.snapshots, 2, 0)
		for k := range 2 * each {
			snap := &Snapshot{Body: oldBody(k % 2)}
			snap.CreatedAt = snap.CreatedAt.Add(time.Duration(k) * time.Hour)
			_, err := h.Store.Commit(t.Context(), h.snapshots.Put(snap, "default", fmt.Sprintf("c%03d", k%2), fmt.Sprintf("snap%04d", k)))
			h.do(err)
		}
		if again {
			h = newHouse(t, h)
		}
		write := func() { h.do(h.WriteList(t.Context(), io.Discard, "default", true, anyType)) }
		write() // makes the views
		return testing.AllocsPerRun(5, write)
	}
	for _, again := range []bool{false, true} {
		few, many := cost(20, again), cost(120, again)
		if each := (many - few) / 200; each > 0.2 { // slices that grow
			t.Errorf("loaded %v: each snapshot takes %v allocations of a list", again, each)
		}
	}
}
