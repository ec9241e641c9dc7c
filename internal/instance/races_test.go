package instance

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

// TestOneETagOneWinner has two clients change an instance that both have read.
func TestOneETagOneWinner(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	for range 40 {
		_, seen, err := h.Get(t.Context(), "default", "c1")
		h.do(err)
		match := func(now store.Revision) error {
			if now != seen {
				return api.PreconditionFailed("ETag doesn't match")
			}
			return nil
		}
		results := make(chan error, 2)
		for _, value := range []string{"1", "2"} {
			put := api.InstancePut{Config: h.show("c1").Config, Profiles: []string{"default"}}
			put.Devices, put.Config["user.a"] = h.show("c1").Devices, value
			go func() { results <- h.run(h.Put(t.Context(), "default", "c1", put, match)) }()
		}
		first, second := <-results, <-results
		if first != nil {
			first, second = second, first
		}
		if first != nil || api.StatusOf(second) != http.StatusPreconditionFailed {
			t.Fatalf("got %v and %v, want one winner and one 412", first, second)
		}
	}
}

// blocks returns the block of IDs of each instance, and fails where two overlap.
func blocks(t *testing.T, h *house) map[string]idmap.Range {
	t.Helper()
	found := map[string]idmap.Range{}
	for _, i := range h.rows("") {
		r, ok := blockOf(i.Config["volatile.idmap.next"])
		if !ok {
			t.Fatalf("%s has no block", i.Name)
		}
		for other, o := range found {
			if overlaps(r, []idmap.Range{o}) {
				t.Errorf("%s has %v and %s has %v", i.Name, r, other, o)
			}
		}
		found[i.Name] = r
	}
	return found
}

func TestIsolatedInstancesNeverShareIDs(t *testing.T) {
	h := newHouse(t, nil)
	isolated := func(name string) func() error {
		req := api.InstancesPost{Name: name, Source: api.InstanceSource{Type: "none"}}
		req.Config = map[string]string{"security.idmap.isolated": "true"}
		return func() error { return h.run(h.Create(t.Context(), "default", req)) }
	}
	var all sync.WaitGroup
	for n := range 8 {
		create := isolated(fmt.Sprint("c", n))
		all.Go(func() {
			if err := create(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := blocks(t, h); len(got) != 8 {
		t.Errorf("%d instances", len(got))
	}
	// A larger block is another one; the old one is not free as long as the instance runs with it.
	h.do(h.action("c0", "start"))
	before := blocks(t, h)["c0"]
	h.do(h.Patch(t.Context(), "default", "c0", api.InstancePut{Config: map[string]string{"security.idmap.size": "100000"}}, func(string) bool { return false }, anyRevision))
	h.do(isolated("c9")())
	got := blocks(t, h)
	if got["c0"] == before || overlaps(got["c9"], []idmap.Range{before}) {
		t.Errorf("c0 went from %v to %v while it runs, and c9 got %v", before, got["c0"], got["c9"])
	}
}

// TestTwoCopiesOfOneThatRuns: the first to end must not let it go on under the second.
func TestTwoCopiesOfOneThatRuns(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.do(h.action("c1", "start"))
	src, err := h.get("default", "c1")
	h.do(err)
	first, err := h.holdFrozen(t.Context(), src.Value)
	h.do(err)
	second, err := h.holdFrozen(t.Context(), src.Value)
	h.do(err)
	first()
	first()
	if status := h.rt.Status("c1"); status != api.Frozen {
		t.Errorf("after the first copy it is %s", status)
	}
	if err := h.action("c1", "unfreeze"); err == nil {
		t.Error("resumed under a copy")
	}
	second()
	if status := h.rt.Status("c1"); status != api.Running {
		t.Errorf("after the last copy it is %s", status)
	}
	if n := h.Journal.Pending(); n != 0 {
		t.Errorf("%d entries left in the journal", n)
	}
}

// TestWhatIsCopiedIsNotStarted: nothing changes in a volume while it is copied, whoever comes first.
func TestWhatIsCopiedIsNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		defer h.Close()
		h.create("c1", nil)
		src, err := h.get("default", "c1")
		h.do(err)
		first, err := h.holdFrozen(t.Context(), src.Value)
		h.do(err)
		second, err := h.holdFrozen(t.Context(), src.Value)
		h.do(err)
		first()
		if err := h.action("c1", "start"); api.StatusOf(err) != 400 || !strings.Contains(err.Error(), `busy running a "copy" operation`) {
			t.Errorf("start under a copy: %v", err)
		}
		second()
		h.do(h.action("c1", "start"))
		h.do(h.action("c1", "stop"))

		starts, err := h.holdForStart(t.Context(), "start", src.Value)
		h.do(err)
		var copying func()
		go func() { copying, _ = h.holdFrozen(t.Context(), src.Value) }()
		synctest.Wait()
		if copying != nil {
			t.Error("a copy begins during a start")
		}
		h.do(h.rt.set("c1", api.Running))
		starts.Release()
		synctest.Wait()
		if got := h.rt.Status("c1"); got != api.Frozen {
			t.Errorf("copied once it runs it is %s", got)
		}
		if err := h.action("c1", "restart"); api.StatusOf(err) != 400 || h.rt.Status("c1") != api.Frozen {
			t.Errorf("restart under a copy: %v, and it is %s", err, h.rt.Status("c1"))
		}
		copying()
	})
}

// TestWhatIsStoppedUnderACopyFailsIt: a clean stop waits for no copy and is refused; a forced one goes first, and nobody takes
// for a copy what is not of one instant.
func TestWhatIsStoppedUnderACopyFailsIt(t *testing.T) {
	for _, force := range []bool{false, true} {
		h := newHouse(t, nil)
		h.launch("c1", nil)
		var stopped error
		h.volumes.copying = func(storage.VolumeID) error {
			stopped = h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "stop", Force: force}))
			return nil
		}
		req := api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1"}}
		err := h.run(h.Create(t.Context(), "default", req))
		switch status := h.rt.Status("c1"); {
		case force && (stopped != nil || status != api.Stopped || err == nil || !strings.Contains(err.Error(), "stopped while it was copied")):
			t.Errorf("a forced stop: %v, it is %s, and the copy: %v", stopped, status, err)
		case !force && (api.StatusOf(stopped) != 400 || status != api.Running || err != nil):
			t.Errorf("a stop: %v, it is %s, and the copy: %v", stopped, status, err)
		}
		if _, there := h.instances.Get("default", "c2"); there == force {
			t.Errorf("force %v: the copy is there: %v", force, there)
		}
		if n := h.Journal.Pending(); n != 0 {
			t.Errorf("%d journal entries are left", n)
		}
	}
}

// pauses is a house with a running instance. begin begins a copy of it, which does not end before goOn is closed, and returns when it has
// to wait, for the fake time goes on only then; copied is the copy's result.
func pauses(t *testing.T) (h *house, begin func(), goOn chan struct{}, copied chan error) {
	h = newHouse(t, nil)
	h.launch("c1", nil)
	goOn, copied = make(chan struct{}), make(chan error, 1)
	h.volumes.copying = func(storage.VolumeID) error { <-goOn; return nil }
	begin = func() {
		go func() {
			req := api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1"}}
			copied <- h.run(h.Create(t.Context(), "default", req))
		}()
		time.Sleep(time.Second)
	}
	return h, begin, goOn, copied
}

// TestAPauseOutlivesACopy that begins while the instance is being paused: its end does not let the instance go on.
func TestAPauseOutlivesACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, begin, goOn, copied := pauses(t)
		defer h.Close()
		h.rt.onTurn = begin
		h.do(h.action("c1", "freeze"))
		close(goOn)
		h.do(<-copied)
		if status := h.rt.Status("c1"); status != api.Frozen {
			t.Errorf("paused, and after the copy it is %s", status)
		}
	})
}

// TestWhatIsCopiedIsNotUnpaused by a request, or a stop, that came before the copy.
func TestWhatIsCopiedIsNotUnpaused(t *testing.T) {
	for _, action := range []string{"unfreeze", "stop"} {
		t.Run(action, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, begin, goOn, copied := pauses(t)
				defer h.Close()
				h.do(h.action("c1", "freeze"))
				h.rt.onTurn, h.rt.stuck = begin, make(chan struct{})
				stuck := h.rt.stuck
				done := waiting(func() error { return h.action("c1", action) })
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if status := h.rt.Status("c1"); status != api.Frozen {
					t.Errorf("%s: while it is copied it is %s", action, status)
				}
				close(goOn)
				h.do(<-copied)
				close(stuck)
				h.do(done())
			})
		})
	}
}

// TestACopyThatBeginsWithAForcedStopFails, if the stop lets the instance go on at all.
func TestACopyThatBeginsWithAForcedStopFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, begin, goOn, copied := pauses(t)
		defer h.Close()
		h.do(h.action("c1", "freeze"))
		h.rt.onTurn = begin
		h.do(h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "stop", Force: true})))
		close(goOn)
		if err := <-copied; err == nil || !strings.Contains(err.Error(), "stopped while it was copied") {
			t.Errorf("the copy: %v", err)
		}
	})
}

// TestAStaleEntryTakesNothing has recovery find the entry of a removal whose name another instance has by now.
func TestAStaleEntryTakesNothing(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	old, err := h.get("default", "c1")
	h.do(err)
	h.do(h.run(h.Delete(t.Context(), "default", "c1")))
	h.create("c1", nil)
	for _, kind := range []string{kindCreate, kindDelete, kindRename, kindMove, kindMoveRest} {
		c := changeOf(old.Value)
		c.NewName, c.NewPool, c.Volumes = "c2", "p2", h.volumesOf(old.Value)
		_, err := h.Journal.Begin(t.Context(), kind, c)
		h.do(err)
	}
	h.do(h.Journal.Recover(t.Context()))
	now, err := h.get("default", "c1")
	h.do(err)
	if now.Value.UUID == old.Value.UUID || now.Value.Creating {
		t.Errorf("the later instance is %+v", now.Value)
	}
	if _, err := h.FilesRoot(t.Context(), "default", "c1"); err != nil {
		t.Error(err)
	}
	if n := h.Journal.Pending(); n != 0 {
		t.Errorf("%d entries left in the journal", n)
	}
}

// TestPairsOfActions has two clients do two things at once to one instance, each pair of things many times: what comes of it
// is what comes of doing one after the other, or one is refused; the record, the volume and the journal agree.
func TestPairsOfActions(t *testing.T) {
	actions := map[string]func(h *house) error{
		"start":  func(h *house) error { return h.action("c1", "start") },
		"stop":   func(h *house) error { return h.action("c1", "stop") },
		"delete": func(h *house) error { return h.run(h.Delete(t.Context(), "default", "c1")) },
		"rename": func(h *house) error { return h.run(h.Post(t.Context(), "default", "c1", api.InstancePost{Name: "c2"})) },
		"snapshot": func(h *house) error {
			return h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s0"}))
		},
		"copy": func(h *house) error {
			req := api.InstancesPost{Name: "c3", Source: api.InstanceSource{Type: "copy", Source: "c1"}}
			return h.run(h.Create(t.Context(), "default", req))
		},
		"update": func(h *house) error {
			return h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: map[string]string{"user.a": "b"}}, func(string) bool { return false }, anyRevision)
		},
	}
	for one, a := range actions {
		for other, b := range actions {
			if one > other {
				continue
			}
			t.Run(one+" and "+other, func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, nil)
				h.create("c1", nil)
				var both sync.WaitGroup
				for _, f := range []func(*house) error{a, b} {
					both.Go(func() {
						if err := f(h); err != nil && api.StatusOf(err) == http.StatusInternalServerError {
							t.Errorf("an error that nobody can do anything with: %v", err)
						}
					})
				}
				both.Wait()
				if n := h.Journal.Pending(); n != 0 {
					t.Errorf("%d entries left in the journal", n)
				}
				for _, i := range h.rows("") {
					if i.Creating {
						t.Errorf("%s is half made", i.Name)
					}
					root, err := h.FilesRoot(t.Context(), "default", i.Name)
					if err != nil {
						t.Errorf("%s has no files: %v", i.Name, err)
					} else if root.Release != nil {
						root.Release()
					}
				}
			})
		}
	}
}

// TestWhatIsCopiedIsNotTakenAway deletes an instance, and a snapshot of it, while somebody copies its volume.
func TestWhatIsCopiedIsNotTakenAway(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s0"})))
	row, err := h.get("default", "c1")
	h.do(err)
	copying, err := h.Locks.Acquire(t.Context(), lock.Claim{Action: "create"}, lock.Shared(row.Value.volume().Object()))
	h.do(err)
	if err := h.run(h.Delete(t.Context(), "default", "c1")); api.StatusOf(err) != http.StatusConflict || !strings.Contains(err.Error(), "busy") {
		t.Errorf("deleted beside a copy: %v", err)
	}
	dropped := make(chan error, 1)
	go func() { dropped <- h.run(h.DeleteSnapshot(t.Context(), "default", "c1", "s0")) }()
	for h.holder(row.Value) == nil { // it has the instance, and now wants the volume
		select {
		case err := <-dropped:
			t.Fatalf("a snapshot is deleted beside a copy of it: %v", err)
		default:
		}
	}
	if _, err := os.Stat(h.Volumes.Path(row.Value.snapshotVolume("s0"))); err != nil {
		t.Error(err)
	}
	copying.Release()
	h.do(<-dropped)
	h.do(h.run(h.Delete(t.Context(), "default", "c1")))
}

// TestSnapshotsWithoutNamesAtOnce: each gets a name of its own, although all were asked for before one was made.
func TestSnapshotsWithoutNamesAtOnce(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	var tasks []*operation.Task
	for range 3 {
		task, err := h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{})
		h.do(err)
		tasks = append(tasks, task)
	}
	for _, task := range tasks {
		h.do(h.run(task, nil))
	}
	for _, name := range []string{"snap0", "snap1", "snap2"} {
		if _, err := h.getSnapshot("default", "c1", name); err != nil {
			t.Error(err)
		}
	}
}

// TestAProfileGivesEachItsOwnIDs: a change of a profile that isolates several instances at once.
func TestAProfileGivesEachItsOwnIDs(t *testing.T) {
	h := newHouse(t, nil)
	for n := range 3 {
		h.create(fmt.Sprint("c", n), nil)
	}
	_, devices, _ := h.Profiles.Definition("default", "default")
	h.do(h.ChangeProfile(t.Context(), "default", "default", map[string]string{"security.idmap.isolated": "true"}, devices, h.idClaims.Put(&idClaim{}, "test")))
	if got := blocks(t, h); len(got) != 3 {
		t.Errorf("%d instances", len(got))
	}
}

// TestAProfileHoldsNoIDsThatItDoesNotGive: how long its devices take is also up to the guests, and nobody else's IDs wait for them.
func TestAProfileHoldsNoIDsThatItDoesNotGive(t *testing.T) {
	h := newHouse(t, nil)
	h.profile("p", nil, nil)
	h.launch("c1", using("p"))
	h.launch("c2", func(r *api.InstancesPost) {
		using("p")(r)
		r.Config = map[string]string{"security.idmap.isolated": "true"}
	})
	started := 0
	h.nic.onStart = func(id string) {
		started++
		ids, other := h.Locks.Try(lock.Claim{Action: "claim"}, lock.Exclusive(lock.ForIDs()))
		if other != nil {
			t.Errorf("the IDs are held while a device of %s is started", id)
			return
		}
		ids.Release()
	}
	h.do(h.putProfile("p", nil, map[string]map[string]string{"eth2": {"type": "nic"}}))
	if started != 2 {
		t.Errorf("%d devices were started", started)
	}
}

// TestAProfileHoldsWhatItsDevicesName: what is being deleted is not named meanwhile.
func TestAProfileHoldsWhatItsDevicesName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Service{Deps: Deps{Locks: &lock.Manager{}}}
		held, err := h.Locks.Acquire(t.Context(), lock.Claim{Action: "delete"}, lock.Exclusive(lock.ForPool("p2")))
		if err != nil {
			t.Fatal(err)
		}
		devices := map[string]device.Config{"root": {"type": "disk", "path": "/", "pool": "p2"}}
		if _, err := h.HoldUsed(t.Context(), "update", "default", devices); !api.IsConflict(err) {
			t.Errorf("named a pool that is being deleted: %v", err)
		}
		held.Release()
		release, err := h.HoldUsed(t.Context(), "update", "default", devices)
		if err != nil {
			t.Fatal(err)
		}
		release()
	})
}
