package instance

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/storage"
)

func TestExpiredSnapshotsAreDeletedWhenTheirTimeComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.create("c1", func(r *api.InstancesPost) { r.Config = map[string]string{"snapshots.expiry": "1d"} })
		h.PruneSnapshots()
		synctest.Wait() // it sleeps: nothing expires
		take := func(name string, at *time.Time) {
			h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: name, ExpiresAt: at})))
		}
		in := func(d time.Duration) *time.Time { at := time.Now().Add(d); return &at }
		never := time.Time{}
		take("day", nil)
		take("minute", in(time.Minute))
		take("never", &never)
		take("later", in(time.Hour))
		want := func(names ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for _, row := range h.snapshots.List("default", "c1") {
				got = append(got, row.Path[2])
			}
			if !slices.Equal(got, names) {
				t.Errorf("%s: there are %q, want %q", time.Now(), got, names)
			}
		}
		want("day", "later", "minute", "never")
		time.Sleep(time.Minute)
		want("day", "later", "never")
		h.events.take()

		// One that is put off, another that is brought forward.
		put := func(name string, at time.Time) {
			h.do(h.run(h.UpdateSnapshot(t.Context(), "default", "c1", name, api.InstanceSnapshotPut{ExpiresAt: at}, anyRevision)))
		}
		put("later", time.Now().Add(10*24*time.Hour))
		put("day", time.Now().Add(time.Second))
		time.Sleep(time.Second)
		want("later", "never")
		time.Sleep(9 * 24 * time.Hour)
		want("later", "never")
		time.Sleep(24 * time.Hour)
		want("never")
		h.nothingLeft()
		h.Close()
	})
}

// TestAnExpiredSnapshotWaitsForCopiesWithoutHoldingTheInstance: a copy takes as long as it takes, and a stop does not wait for it.
func TestAnExpiredSnapshotWaitsForCopiesWithoutHoldingTheInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		defer h.Close()
		h.launch("c1", nil)
		at := time.Now().Add(time.Minute)
		h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s0", ExpiresAt: &at})))
		h.PruneSnapshots()
		goOn := make(chan struct{})
		h.volumes.copying = func(storage.VolumeID) error { <-goOn; return nil }
		copied := waiting(func() error {
			req := api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1", InstanceOnly: true}}
			return h.run(h.Create(t.Context(), "default", req))
		})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if _, err := h.getSnapshot("default", "c1", "s0"); err != nil {
			t.Errorf("under a copy: %v", err)
		}
		row, err := h.get("default", "c1")
		h.do(err)
		if other := h.holder(row.Value); other != nil {
			t.Errorf("under a copy the instance is held for %q", other.Action())
		}
		h.do(h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "stop", Force: true})))
		close(goOn)
		if err := copied(); err == nil {
			t.Error("a copy of what was stopped meanwhile")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := h.getSnapshot("default", "c1", "s0"); !api.IsNotFound(err) {
			t.Errorf("a minute after the copy: %v", err)
		}
		h.nothingLeft()
	})
}

// TestSnapshotsExpireBesideAPoolThatHangs, also where that is noticed in the middle of a deletion; who is in the pool that hangs is not held for it.
func TestSnapshotsExpireBesideAPoolThatHangs(t *testing.T) {
	for _, late := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, nil)
			defer h.Close()
			h.create("c1", func(r *api.InstancesPost) {
				r.Devices = map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "p2"}}
			})
			h.create("c2", nil)
			answer := make(chan struct{})
			h.volumes.deleting = func(id storage.VolumeID) error {
				if late && id.Pool == "p2" {
					<-answer
				}
				return nil
			}
			h.PruneSnapshots()
			for n, name := range []string{"c1", "c2"} {
				at := time.Now().Add(time.Minute + time.Duration(n)*time.Second)
				h.do(h.run(h.CreateSnapshot(t.Context(), "default", name, api.InstanceSnapshotsPost{Name: "s0", ExpiresAt: &at})))
			}
			if !late {
				h.volumes.hung.Store("p2")
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if _, err := h.getSnapshot("default", "c2", "s0"); !api.IsNotFound(err) {
				t.Errorf("late %v: it waits for the other pool: %v", late, err)
			}
			if _, err := h.getSnapshot("default", "c1", "s0"); err != nil {
				t.Errorf("late %v: in a pool that hangs: %v", late, err)
			}
			if other := h.holder(h.stored("c1")); other != nil && !late {
				t.Errorf("the instance is held for %q", other.Action())
			}
			close(answer)
			h.volumes.hung.Store("")
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if _, err := h.getSnapshot("default", "c1", "s0"); !api.IsNotFound(err) {
				t.Errorf("late %v: once it answers: %v", late, err)
			}
		})
	}
}
