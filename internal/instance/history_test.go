package instance

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/store"
)

// oldBody is what an instance looks like that has run.
func oldBody(n int) Body {
	return Body{
		Type: api.InstanceTypeContainer, Architecture: "x86_64", Profiles: []string{"default"},
		CreatedAt: time.Unix(1e9, 0).UTC(), LastUsedAt: time.Unix(1e9, 0).UTC(),
		Devices: map[string]device.Config{"root": {"type": "disk", "path": "/", "pool": "p1"}},
		Config: map[string]string{
			"image.os": "BusyBox", "image.release": "1", "volatile.base_image": "f00d", "volatile.last_state.power": "STOPPED",
			"volatile.uuid": fmt.Sprintf("3f0b1c6e-0000-4000-8000-%012d", n), "volatile.idmap.base": "0", "volatile.last_state.idmap": "[]",
			"volatile.cloud-init.instance-id": fmt.Sprintf("3f0b1c6e-0000-4000-9000-%012d", n),
		},
	}
}

// addHistory writes instances with snapshots of each, straight into the store.
func addHistory(t testing.TB, s *store.Store, instances *store.Table[Instance], snapshots *store.Table[Snapshot], count, each int) {
	t.Helper()
	addHistoryOf(t, s, instances, snapshots, count, each, false)
}

// addHistoryOf is addHistory in which, if vary is set, each snapshot differs from the one before in four keys.
func addHistoryOf(t testing.TB, s *store.Store, instances *store.Table[Instance], snapshots *store.Table[Snapshot], count, each int, vary bool) {
	t.Helper()
	for n := range count {
		name := fmt.Sprintf("c%03d", n)
		ops := []store.Op{instances.Put(&Instance{Body: oldBody(n), Project: "default", Name: name, Pool: "p1"}, "default", name)}
		for k := range each {
			body := oldBody(n)
			body.CreatedAt = body.CreatedAt.Add(time.Duration(k) * time.Hour)
			if vary {
				body.Config["user.run"], body.Config["volatile.uuid.generation"] = strconv.Itoa(k), fmt.Sprintf("3f0b1c6e-0000-4000-a000-%012d", k)
				body.Config["limits.memory"] = fmt.Sprintf("%dMiB", 256+k)
				if k%2 == 1 {
					body.Config["volatile.last_state.ready"] = "false"
				}
			}
			ops = append(ops, snapshots.Put(newSnapshot(body, time.Time{}), "default", name, fmt.Sprintf("snap%d", k)))
		}
		if _, err := s.CommitAll(context.Background(), ops); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHistoryIsFree holds a list to the same work whatever the number of snapshots.
func TestHistoryIsFree(t *testing.T) {
	cost := func(each int) (list, names float64) {
		h := newHouse(t, nil)
		addHistory(t, h.Store, h.instances, h.snapshots, 20, each)
		if got := len(h.List(t.Context(), "default", nil)); got != 20 {
			t.Fatalf("%d instances", got)
		}
		all := func(api.InstanceType) bool { return true }
		return testing.AllocsPerRun(20, func() { h.List(t.Context(), "default", nil) }),
			testing.AllocsPerRun(20, func() { h.Names(t.Context(), "default", all, func(string, string) {}) })
	}
	list, names := cost(0)
	longList, longNames := cost(250)
	if longList > list+1 || longNames > names+1 {
		t.Errorf("allocations of a list and of names: %v and %v without snapshots, %v and %v with 250 of each", list, names, longList, longNames)
	}
	if names > 20 {
		t.Errorf("names of 20 instances take %v allocations", names)
	}
}

// BenchmarkOpenLongHistory opens a store of 200 instances with 250 snapshots each.
func BenchmarkOpenLongHistory(b *testing.B) {
	for _, vary := range []bool{false, true} {
		b.Run(map[bool]string{false: "alike", true: "varied"}[vary], func(b *testing.B) { openLongHistory(b, vary) })
	}
}

func openLongHistory(b *testing.B, vary bool) {
	path := filepath.Join(b.TempDir(), "db")
	open := func() (*store.Store, *store.Table[Instance], *store.Table[Snapshot]) {
		engine, err := store.OpenBolt(path, store.Options{NoBackup: true})
		if err != nil {
			b.Fatal(err)
		}
		s := store.New(engine)
		instances, snapshots := store.NewTable[Instance](s, "instances"), store.NewTable[Snapshot](s, "instance-snapshots")
		if err := s.Load(b.Context()); err != nil {
			b.Fatal(err)
		}
		return s, instances, snapshots
	}
	s, instances, snapshots := open()
	addHistoryOf(b, s, instances, snapshots, 200, 250, vary)
	_ = s.Close()
	for b.Loop() {
		s, _, snapshots := open()
		b.StopTimer()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB-heap")
		if snapshots.Len() != 200*250 {
			b.Fatal(snapshots.Len())
		}
		_ = s.Close()
		b.StartTimer()
	}
}
