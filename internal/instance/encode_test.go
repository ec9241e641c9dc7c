package instance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
)

func anyType(api.InstanceType) bool { return true }

// written is what WriteList writes, and what encoding/json makes of the list of objects.
func (h *house) written(full bool) (got, want string) {
	h.t.Helper()
	var b bytes.Buffer
	h.do(h.WriteList(h.t.Context(), &b, "default", full, anyType))
	var list any = h.List(h.t.Context(), "default", nil)
	if full {
		list = h.ListFull(h.t.Context(), "default", nil)
	}
	data, err := json.Marshal(list)
	h.do(err)
	return b.String(), string(data)
}

func (h *house) checkWritten() {
	h.t.Helper()
	for _, full := range []bool{false, true} {
		if got, want := h.written(full); got != want {
			h.t.Errorf("full %v: %s", full, cmp.Diff(want, got))
		}
	}
}

func TestWrittenListIsTheList(t *testing.T) {
	h := newHouse(t, nil)
	addHistory(t, h.Store, h.instances, h.snapshots, 2*keptBatch+1, 2)
	h.checkWritten()
	for n := range 2*liveBatch + 1 {
		h.create(fmt.Sprintf("r%02d", n), withNIC)
		h.do(h.action(fmt.Sprintf("r%02d", n), "start"))
	}
	h.create("odd", func(req *api.InstancesPost) { req.Description = `"status":"","status_code":0, <&>` })
	h.checkWritten()
}

func TestWrittenListIsNeverOld(t *testing.T) {
	h := newHouse(t, nil)
	changing := &changingProfiles{Profiles: h.Profiles}
	h.Profiles = changing
	h.create("c1", nil)
	seen := map[string]bool{}
	look := func() {
		t.Helper()
		h.checkWritten()
		got, _ := h.written(false)
		if seen[got] {
			t.Fatalf("an old list: %s", got)
		}
		seen[got] = true
	}
	look()
	h.do(h.action("c1", "start"))
	look()
	h.do(h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: map[string]string{"user.x": "y"}}, func(f string) bool { return f == "config" }, anyRevision))
	look()
	changing.extra.Store(1)
	look()
}

// changingProfiles give every instance a key that changes with their number of changes.
type changingProfiles struct {
	Profiles
	extra atomic.Uint64
}

func (c *changingProfiles) Changes() uint64 { return c.extra.Load() }

func (c *changingProfiles) Definition(project, name string) (map[string]string, map[string]device.Config, bool) {
	config, devices, ok := c.Profiles.Definition(project, name)
	with := map[string]string{"user.changes": fmt.Sprint(c.extra.Load())}
	for key, value := range config {
		with[key] = value
	}
	return with, devices, ok
}

// TestWrittenListIsCheap guards that a list makes nothing for each instance that does not run.
func TestWrittenListIsCheap(t *testing.T) {
	cost := func(count int, full bool) float64 {
		h := newHouse(t, nil)
		addHistory(t, h.Store, h.instances, h.snapshots, count, 0)
		write := func() { _ = h.WriteList(t.Context(), io.Discard, "default", full, anyType) }
		write() // makes the views
		return testing.AllocsPerRun(20, write)
	}
	const most = 60 // slices that grow; a hundred instances more are not a hundred allocations more
	if n := cost(200, false); n > most {
		t.Errorf("a list of 200 takes %v allocations, %d at most are allowed", n, most)
	}
	few, many := cost(100, true), cost(200, true)
	if each := (many - few) / 100; each > 4 { // the state of one, its map of disks, the key of its snapshots and the slice it is made from
		t.Errorf("each stopped instance takes %v allocations of a list with state", each)
	}
}

func TestInOrder(t *testing.T) {
	broken := errors.New("broken")
	for _, workers := range []int{1, 2, 3, 8} {
		for _, count := range []int{0, 1, 2, 50} {
			var out bytes.Buffer
			want := ""
			for n := range count {
				want += fmt.Sprint(n, " ")
			}
			fill := func(n int, b []byte) []byte { return fmt.Append(b, n, " ") }
			if err := inOrder(count, workers, fill, func(b []byte) error { _, err := out.Write(b); return err }); err != nil || out.String() != want {
				t.Errorf("%d workers, %d: %q, %v", workers, count, out.String(), err)
			}
			taken := 0
			err := inOrder(count, workers, fill, func([]byte) error { taken++; return broken })
			if taken != min(count, 1) || (count > 0) != errors.Is(err, broken) {
				t.Errorf("%d workers, %d: taken %d after a failure, %v", workers, count, taken, err)
			}
		}
	}
}
