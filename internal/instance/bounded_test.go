package instance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/store"
)

var errDead = errors.New("the daemon was killed")

// withHistory is a house with an instance that has many snapshots.
func withHistory(t *testing.T, many int) *house {
	t.Helper()
	h := newHouse(t, nil)
	h.create("c1", nil)
	i := h.stored("c1")
	var ops []store.Op
	for n := range many {
		name := fmt.Sprintf("snap%d", n)
		h.do(os.MkdirAll(filepath.Join(h.Volumes.Path(i.snapshotVolume(name)), "rootfs"), 0o755))
		ops = append(ops, h.snapshots.Put(newSnapshot(i.Body.clone(), never), "default", "c1", name), h.Volumes.Record(i.snapshotVolume(name), i.volume()))
	}
	_, err := h.Store.CommitAll(t.Context(), ops)
	h.do(err)
	return h
}

// history is what the store has of an instance: nothing, or all of its snapshots with their volumes, in one pool.
func (h *house) history(name, pool string) string {
	h.t.Helper()
	_, is := h.instances.Get("default", name)
	volumes := 0
	for _, row := range h.volumes.table.List(pool, "default", name) {
		if row.Path[3] != "" {
			volumes++
		}
	}
	return fmt.Sprintf("%v %d %d", is, len(h.snapshots.List("default", name)), volumes)
}

// TestChangesOfLongHistories cuts off, at each of their commits, changes that take several: the next start finishes or undoes
// them; and then it lets just that commit fail.
func TestChangesOfLongHistories(t *testing.T) {
	const none = "false 0 0"
	for name, change := range map[string]struct {
		many  int // snapshots, which are more than one commit takes
		do    func(h *house) error
		after func(h *house) string
		// The states that may be, of c1 in pool p1 and of what after gives: all is an instance with its snapshots, bare one without
		// their volumes.
		undone, done [2]string
	}{
		"rename": {
			many:  store.MaxOps/4 + 1,
			do:    func(h *house) error { return h.rename(h.t.Context(), "default", "c1", "c2") },
			after: func(h *house) string { return h.history("c2", "p1") }, undone: [2]string{"all", none}, done: [2]string{none, "all"},
		},
		"delete": {
			many:  store.MaxOps/2 + 1,
			do:    func(h *house) error { return h.delete(h.t.Context(), "default", "c1") },
			after: func(*house) string { return "" }, undone: [2]string{"all", ""}, done: [2]string{none, ""},
		},
		"move": {
			many:   store.MaxOps,
			do:     func(h *house) error { return h.move(h.t.Context(), "default", "c1", "c1", "p2") },
			after:  func(h *house) string { return h.history("c1", "p2") },
			undone: [2]string{"all", "bare"}, done: [2]string{"bare", "all"},
		},
		"copy": {
			many: store.MaxOps/2 + 1,
			do: func(h *house) error {
				return h.run(h.Create(h.t.Context(), "default", api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1"}}))
			},
			after: func(h *house) string { return h.history("c2", "p1") }, undone: [2]string{"all", none}, done: [2]string{"all", "all"},
		},
	} {
		for _, kill := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, killed %v", name, kill), func(t *testing.T) {
				states := strings.NewReplacer("all", fmt.Sprintf("true %d %d", change.many, change.many), "bare", fmt.Sprintf("true %d 0", change.many))
				undone, done := states.Replace(strings.Join(change.undone[:], ", ")), states.Replace(strings.Join(change.done[:], ", "))
				fails := 0
				for ; ; fails++ {
					h := withHistory(t, change.many)
					h.engine.failAt(fails, kill)
					err := change.do(h)
					h.engine.failAt(-1, false)
					if kill || h.Journal.Pending() > 0 { // what has begun to take something away is finished by the next start
						h = newHouse(t, h)
						h.do(h.Journal.Recover(t.Context()))
					}
					got := h.history("c1", "p1") + ", " + change.after(h)
					if got != undone && got != done || err == nil && got != done {
						t.Errorf("failed at commit %d (%v): there are %s", fails, err, got)
					}
					if n := h.Journal.Pending(); n != 0 {
						t.Errorf("failed at commit %d (%v): %d entries are left", fails, err, n)
					}
					if err == nil {
						break
					}
				}
				if fails < 3 { // the entry, and two for the change at least
					t.Errorf("it takes only %d commits", fails)
				}
			})
		}
	}
}
