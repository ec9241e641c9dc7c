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
	for n, change := range []func(*storedSnapshot){
		func(*storedSnapshot) {},
		func(s *storedSnapshot) { s.ExpiresAt = time.Now().UTC() },
		func(s *storedSnapshot) { s.LastUsedAt = time.Now().In(time.FixedZone("", 90*60)) },
		func(s *storedSnapshot) { s.Ephemeral = true },
		func(s *storedSnapshot) { s.Stateful, s.Architecture = true, `"<a&b>` },
		func(s *storedSnapshot) { s.Config["user.created_at"] = `,"created_at":"",<&>` },
		func(s *storedSnapshot) { s.Config, s.Devices, s.Profiles = nil, nil, nil },
		func(s *storedSnapshot) { s.Config, s.Profiles = nil, []string{} },
		func(s *storedSnapshot) {
			s.Config[""], s.Config["a\":"], s.Config["a!"], s.Config["é"] = "", "\n", "\\", "\u2028"
		},
		func(s *storedSnapshot) { s.Config["limits.cpu"], s.Config["zz"] = "3", "1" },
		func(s *storedSnapshot) { delete(s.Config, "image.os") },
		func(s *storedSnapshot) { s.Config, s.Profiles = map[string]string{}, []string{} },
		func(s *storedSnapshot) { s.Devices["eth0"] = device.Config{"type": "nic"} },
		func(s *storedSnapshot) { s.Profiles = []string{"default", "gone"} },
		func(s *storedSnapshot) { s.Profiles = []string{"default"} },
	} {
		snap := &storedSnapshot{Body: oldBody(1)}
		snap.CreatedAt = snap.CreatedAt.Add(time.Duration(n) * time.Hour)
		change(snap)
		for _, name := range []string{"a", `b<&>"`} {
			_, err := h.Store.Commit(t.Context(), h.snapshots.Put(newSnapshot(snap.Body, snap.ExpiresAt), "default", "c1", fmt.Sprint(name, n)))
			h.do(err)
		}
		h.checkWritten()
	}
}

// TestWrittenSnapshotsAreCheap guards that a list makes nothing for each of an instance's snapshots, alike or not, loaded or
// committed.
func TestWrittenSnapshotsAreCheap(t *testing.T) {
	cost := func(each int, again, vary bool) float64 {
		h := newHouse(t, nil)
		addHistory(t, h.Store, h.instances, h.snapshots, 2, 0)
		for k := range 2 * each {
			body := oldBody(k % 2)
			body.CreatedAt = body.CreatedAt.Add(time.Duration(k) * time.Hour)
			if vary {
				body.Config["user.run"] = fmt.Sprint(k)
			}
			_, err := h.Store.Commit(t.Context(), h.snapshots.Put(newSnapshot(body, never), "default", fmt.Sprintf("c%03d", k%2), fmt.Sprintf("snap%04d", k)))
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
		for _, vary := range []bool{false, true} {
			few, many := cost(20, again, vary), cost(120, again, vary)
			if each := (many - few) / 200; each > 0.2 { // slices that grow
				t.Errorf("loaded %v, varied %v: each snapshot takes %v allocations of a list", again, vary, each)
			}
		}
	}
}
