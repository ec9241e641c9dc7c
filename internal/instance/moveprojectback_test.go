package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/store"
)

// records are the snapshots of an instance as the store has them.
func (h *house) records(project, name string) map[string]string {
	h.t.Helper()
	all := map[string]string{}
	for _, row := range h.snapshots.List(project, name) {
		data, err := json.Marshal(row.Value)
		h.do(err)
		all[row.Path[2]] = string(data)
	}
	return all
}

// ownProject makes a project whose default profile gives a root disk of another pool, or none.
func (h *house) ownProject(name string, root map[string]map[string]string) {
	h.t.Helper()
	h.do(h.projects.Create(h.t.Context(), api.ProjectsPost{Name: name}))
	h.do(h.profiles.Put(h.t.Context(), name, "default", api.ProfilePut{Devices: root}, anyRevision))
}

// snapshotsOfManyKinds makes c1 with more snapshots than one commit moves: those with a root disk of their own and those without.
func (h *house) snapshotsOfManyKinds() {
	h.t.Helper()
	h.create("c1", nil)
	for n := range 40 {
		h.takeSnapshots("default", "c1", fmt.Sprintf("plain%d", n))
	}
	h.do(h.patch("c1", nil, map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "p1", "user.a": "b"}}))
	h.takeSnapshots("default", "c1", "own")
	h.do(h.run(h.Restore(h.t.Context(), "default", "c1", "plain0", anyRevision))) // the instance has none of its own
}

// TestAMoveToAnotherProjectThatIsTakenBackLeavesSnapshotsAsTheyWere, by the call that fails and by the daemon after one that was killed.
func TestAMoveToAnotherProjectThatIsTakenBackLeavesSnapshotsAsTheyWere(t *testing.T) {
	for pool, root := range map[string]map[string]map[string]string{
		"another pool": {"root": {"type": "disk", "path": "/", "pool": "p2"}},
		"none":         {},
	} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed %v", pool, killed), func(t *testing.T) {
				h := newHouse(t, nil)
				h.ownProject("own", root)
				h.snapshotsOfManyKinds()
				before, i := h.records("default", "c1"), h.stored("c1")
				moved, dead := 0, false
				h.engine.refuse = func(ops []store.Op) error {
					for _, op := range ops {
						if strings.HasPrefix(op.Key, "/instances/own/") {
							moved, dead = len(h.snapshots.List("own", "c2")), killed
							return errors.New("no")
						}
					}
					if dead {
						return errDead
					}
					return nil
				}
				if err := h.run(h.Post(t.Context(), "default", "c1", api.InstancePost{Name: "c2", Project: "own"})); err == nil || moved == 0 {
					t.Fatalf("%d snapshots had been moved: %v", moved, err)
				}
				if killed {
					h.engine.refuse = nil
					h = newHouse(t, h)
					h.boot()
				}
				if after := h.records("default", "c1"); !maps.Equal(before, after) {
					for name, was := range before {
						if after[name] != was {
							t.Errorf("%s was %s\nand is %s", name, was, after[name])
						}
					}
				}
				if got := h.stored("c1"); got.UUID != i.UUID || len(h.snapshots.List("own")) != 0 || h.Journal.Pending() != 0 {
					t.Errorf("left: %d snapshots elsewhere, %d entries", len(h.snapshots.List("own")), h.Journal.Pending())
				}
				h.engine.refuse = nil
				h.movesTwice()
			})
		}
	}
}

// movesTwice moves c1 to the project "own", where its snapshots can be restored, and then fails to move it on: what the first move gave them is theirs.
func (h *house) movesTwice() {
	h.t.Helper()
	ctx := h.t.Context()
	h.do(h.run(h.Post(ctx, "default", "c1", api.InstancePost{Name: "c2", Project: "own"})))
	for _, name := range []string{"plain0", "own"} {
		h.do(h.run(h.Restore(ctx, "own", "c2", name, anyRevision)))
	}
	shown := func() map[string]map[string]map[string]string {
		all, err := h.Snapshots(ctx, "own", "c2")
		h.do(err)
		m := map[string]map[string]map[string]string{}
		for _, s := range all {
			m[s.Name] = s.Devices
		}
		return m
	}
	before := shown()
	h.do(h.projects.Create(ctx, api.ProjectsPost{Name: "third", ProjectPut: api.ProjectPut{Config: map[string]string{"features.profiles": "false"}}}))
	h.engine.refuse = func(ops []store.Op) error {
		for _, op := range ops {
			if strings.HasPrefix(op.Key, "/instances/third/") {
				return errors.New("no")
			}
		}
		return nil
	}
	if err := h.run(h.Post(ctx, "own", "c2", api.InstancePost{Name: "c3", Project: "third"})); err == nil {
		h.t.Fatal("moved")
	}
	h.engine.refuse = nil
	for name, devices := range shown() {
		if fmt.Sprint(devices) != fmt.Sprint(before[name]) {
			h.t.Errorf("%s had %v and has %v", name, before[name], devices)
		}
	}
}
