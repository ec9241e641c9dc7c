package instance

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/spec"
	"github.com/berthd/berth/internal/store"
)

// situation is all that there is of running instances: records, what the host has, what is inside, and limits.
type situation struct {
	Records  []*api.Instance
	Live     map[string]*live
	Up       map[string]bool
	Plugged  map[string]bool
	Known    map[string]string
	Limits   map[string]spec.Cgroup
	Profiles []*api.Profile
}

func (h *house) situation() situation {
	h.t.Helper()
	h.rt.mu.Lock()
	defer h.rt.mu.Unlock()
	h.nic.mu.Lock()
	defer h.nic.mu.Unlock()
	s := situation{
		Live: map[string]*live{}, Up: maps.Clone(h.nic.up), Plugged: maps.Clone(h.nic.plugged), Known: maps.Clone(h.nic.known),
		Limits: maps.Clone(h.rt.limits), Profiles: h.profiles.List(h.t.Context(), "default"),
	}
	for _, row := range h.runs.table.List() {
		s.Live[row.Path[1]] = row.Value
	}
	for _, row := range h.instances.List() {
		one := &api.Instance{Name: row.Value.Name}
		one.Config, one.Devices = row.Value.Config, fromDevices(row.Value.Devices)
		s.Records = append(s.Records, one)
	}
	return s
}

// is fails unless the situation is another's.
func (h *house) is(want situation) {
	h.t.Helper()
	if diff := cmp.Diff(want, h.situation(), cmpopts.EquateEmpty()); diff != "" {
		h.t.Errorf("not as it was: %s", diff)
	}
	if n := h.Journal.Pending(); n != 0 {
		h.t.Errorf("%d journal entries are left", n)
	}
}

// launch makes a running instance with a NIC and a limit.
func (h *house) launch(name string, change func(*api.InstancesPost)) {
	h.t.Helper()
	h.create(name, func(r *api.InstancesPost) {
		r.Config = map[string]string{"limits.memory": "10%"}
		r.Devices = map[string]map[string]string{"eth0": {"type": "nic", "net": "a"}, "eth1": {"type": "nic", "live": "1"}}
		if change != nil {
			change(r)
		}
	})
	h.do(h.action(name, "start"))
	for device := range h.show(name).ExpandedDevices {
		if device != "root" {
			h.nic.plugged[name+"/"+device] = true // as the runtime has it
		}
	}
}

func (h *house) patch(name string, config map[string]string, devices map[string]map[string]string) error {
	return h.Patch(h.t.Context(), "default", name, api.InstancePut{Config: config, Devices: devices}, func(string) bool { return false }, anyRevision)
}

// failures are changes of which the last step fails; all else in them would go well.
var failures = map[string]struct {
	config  map[string]string
	devices map[string]map[string]string
}{
	"a device in the place of another cannot be started": {
		nil, map[string]map[string]string{"eth0": {"type": "nic", "net": "b", "unstartable": "1"}}},
	"a device in the place of another cannot be plugged": {
		nil, map[string]map[string]string{"eth0": {"type": "nic", "net": "b", "stuck": "1"}}},
	"a device more cannot be plugged, and there is a limit": {
		map[string]string{"limits.memory": "50%"}, map[string]map[string]string{"eth2": {"type": "nic", "stuck": "1"}}},
	"one in place, one replaced, one more that cannot be plugged": {
		map[string]string{"limits.memory": "50%", "limits.cpu": "2"}, map[string]map[string]string{
			"eth0": {"type": "nic", "net": "b"}, "eth1": {"type": "nic", "live": "2"}, "eth2": {"type": "nic", "stuck": "1"},
		}},
	"a change in place fails": {
		map[string]string{"limits.memory": "50%"}, map[string]map[string]string{"eth0": {"type": "nic", "net": "b"}, "eth1": {"type": "nic", "live": "bad"}}},
}

func TestAFailedChangeLeavesAllAsItWas(t *testing.T) {
	for name, c := range failures {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			h.launch("c1", nil)
			before := h.situation()
			if err := h.patch("c1", c.config, c.devices); err == nil {
				t.Fatal("it went well")
			}
			h.is(before)
			if cfg, ok := h.nic.updated["c1/eth1"]; ok && cfg["live"] != "1" {
				t.Errorf("eth1 is left with live=%s", cfg["live"])
			}
			h.do(h.patch("c1", map[string]string{"limits.memory": "20%"}, map[string]map[string]string{"eth0": {"type": "nic", "net": "b"}}))
			if now := h.situation(); !now.Plugged["c1/eth0#1"] || now.Plugged["c1/eth0"] || now.Up["c1/eth0"] || now.Known["c1/eth0"] != "b" {
				t.Errorf("afterwards: %+v", now)
			}
			h.do(h.action("c1", "stop"))
			h.nothingLeft()
		})
	}
}

// TestAFullStoreUndoesAChange fails the commit of the record.
func TestAFullStoreUndoesAChange(t *testing.T) {
	h := newHouse(t, nil)
	h.launch("c1", nil)
	before := h.situation()
	full := errors.New("no space left on device")
	h.engine.refuse = func(ops []store.Op) error {
		for _, op := range ops {
			if strings.HasPrefix(op.Key, "/instance-runs/") {
				return full
			}
		}
		return nil
	}
	err := h.patch("c1", map[string]string{"limits.memory": "50%"}, map[string]map[string]string{"eth0": {"type": "nic", "net": "b"}})
	if !errors.Is(err, full) {
		t.Errorf("error is %v", err)
	}
	h.engine.refuse = nil
	h.is(before)
}

// TestAKillDuringAChange stops a change after each of its parts and has another daemon find it so.
func TestAKillDuringAChange(t *testing.T) {
	config, devices := map[string]string{"limits.memory": "50%"}, map[string]map[string]string{
		"eth0": {"type": "nic", "net": "b"}, "eth1": {"type": "nic", "live": "2"}, "eth2": {"type": "nic"},
	}
	for _, kept := range []bool{false, true} {
		for n := range 6 {
			h := newHouse(t, nil)
			h.launch("c1", nil)
			before := h.situation()
			st := h.cutOff(n, config, devices)
			if kept {
				if n < 5 {
					continue
				}
				h.do(h.modify(t.Context(), "default", "c1", func(i *Instance) error { *i = *st.next; return nil }, h.ops(st)...))
			}
			next := newHouse(t, h)
			for range 2 { // it may be cut off, too
				entries := next.entries()
				next.do(next.Journal.Recover(t.Context()))
				next.putBack(entries)
				next = newHouse(t, next)
			}
			next.do(next.Journal.Recover(t.Context()))
			next.do(next.Adopt(t.Context()))
			if !kept {
				next.is(before)
			} else if now := next.situation(); !now.Plugged["c1/eth0#1"] || now.Up["c1/eth0"] || !now.Plugged["c1/eth2"] || now.Known["c1/eth0"] != "b" ||
				*now.Limits["c1"].MemoryLimit != (1<<30)/100*50 {
				t.Errorf("after the commit: %+v", now)
			}
			next.do(next.action("c1", "stop"))
			next.nothingLeft()
		}
	}
}

// cutOff begins a change and stops after its first parts.
func (h *house) cutOff(parts int, config map[string]string, devices map[string]map[string]string) *step {
	h.t.Helper()
	ctx := h.t.Context()
	row, err := h.get("default", "c1")
	h.do(err)
	next := row.Value.clone()
	maps.Copy(next.Config, config)
	maps.Copy(next.Devices, toDevices(devices))
	after, err := h.check(ctx, next, row.Value)
	h.do(err)
	st, err := h.plan(ctx, row.Value, next, h.effectiveOf(row.Value), after)
	h.do(err)
	h.do(h.begin(ctx, []*step{st}))
	for _, part := range []func(context.Context, *step) error{h.applyStart, h.applyLimits, h.applyUpdates, h.applyUnplug, h.applyPlug}[:parts] {
		h.do(part(ctx, st))
	}
	return st
}

// entries are the journal's, and putBack writes them again: as if a recovery had not come to an end.
func (h *house) entries() []store.Entry {
	h.t.Helper()
	var list []store.Entry
	_, err := h.engine.Scan(h.t.Context(), "/journal/", func(e store.Entry) error {
		e.Value = slices.Clone(e.Value)
		list = append(list, e)
		return nil
	})
	h.do(err)
	return list
}

func (h *house) putBack(list []store.Entry) {
	h.t.Helper()
	for _, e := range list {
		_, err := h.Store.Commit(h.t.Context(), store.Op{Key: e.Key, Value: e.Value})
		h.do(err)
	}
}

// TestAnOldEntryDoesNoHarm: one that could be neither undone nor finished may be older than what is there.
func TestAnOldEntryDoesNoHarm(t *testing.T) {
	h := newHouse(t, nil)
	h.launch("c1", nil)
	st := h.cutOff(5, map[string]string{"limits.memory": "50%"}, map[string]map[string]string{"eth0": {"type": "nic", "net": "b"}})
	h.do(h.rollBack(t.Context(), &st.record, st.done)) // and the entry stays
	h.do(h.patch("c1", map[string]string{"limits.memory": "20%"}, map[string]map[string]string{"eth0": {"type": "nic", "net": "c"}}))
	now := h.situation()
	next := newHouse(t, h)
	next.do(next.Journal.Recover(t.Context()))
	next.do(next.Adopt(t.Context()))
	next.is(now)
}

// TestDevicesAreAdoptedByWhatRuns: what the record says may have changed since.
func TestDevicesAreAdoptedByWhatRuns(t *testing.T) {
	h := newHouse(t, nil)
	h.launch("c1", nil)
	h.do(h.patch("c1", nil, map[string]map[string]string{"eth0": {"type": "nic", "net": "b"}}))
	h.do(h.modify(t.Context(), "default", "c1", func(i *Instance) error { delete(i.Devices, "eth0"); return nil }))
	next := newHouse(t, h)
	next.do(next.Adopt(t.Context()))
	if diff := cmp.Diff([]string{"c1/eth0#1", "c1/eth1"}, next.nic.adopted); diff != "" {
		t.Error(diff)
	}
	next.do(next.action("c1", "stop"))
	next.nothingLeft()
	if left := next.runs.table.List(); len(left) > 0 {
		t.Errorf("%+v is kept of instances that do not run", left[0].Value)
	}
}

// TestWhatWasNotPluggedIsNotUnplugged: where a guest's file system does not answer it was waited for twice, the change could "not be
// undone", and each next start of the daemon waited for it again.
func TestWhatWasNotPluggedIsNotUnplugged(t *testing.T) {
	h := newHouse(t, nil)
	h.launch("c1", nil)
	before := h.situation()
	err := h.patch("c1", nil, map[string]map[string]string{"eth2": {"type": "nic"}, "eth3": {"type": "nic", "unanswered": "1"}})
	if !errors.Is(err, errUnanswered) || strings.Contains(err.Error(), "go back") {
		t.Errorf("got %v", err)
	}
	h.is(before)
	if n := h.Journal.Pending(); n != 0 {
		t.Errorf("%d journal entries are left", n)
	}
}

func (h *house) putProfile(name string, config map[string]string, devices map[string]map[string]string) error {
	put := api.ProfilePut{}
	put.Config, put.Devices = config, devices
	return h.profiles.Put(h.t.Context(), "default", name, put, anyRevision)
}

func using(names ...string) func(*api.InstancesPost) {
	return func(r *api.InstancesPost) { r.Config, r.Profiles = nil, append([]string{"default"}, names...) }
}

// TestAProfileIsFollowedByAllOrNone has the second of two instances fail.
func TestAProfileIsFollowedByAllOrNone(t *testing.T) {
	h := newHouse(t, nil)
	h.profile("p", map[string]string{"limits.memory": "10%"}, nil)
	for _, name := range []string{"c1", "c2", "c3"} {
		h.launch(name, using("p"))
	}
	h.do(h.action("c3", "stop"))
	before := h.situation()
	h.nic.failOnce = "c2/eth2"
	change := func() error {
		return h.putProfile("p", map[string]string{"limits.memory": "50%"}, map[string]map[string]string{"eth2": {"type": "nic"}})
	}
	if err := change(); err == nil {
		t.Error("no error")
	}
	h.is(before)
	h.do(change())
	now := h.situation()
	for _, name := range []string{"c1", "c2"} {
		if !now.Plugged[name+"/eth2"] || *now.Limits[name].MemoryLimit != (1<<30)/100*50 || now.Live[name].Limits["limits.memory"] != "50%" {
			t.Errorf("%s has not followed: %+v", name, now)
		}
	}
	h.do(h.action("c1", "stop"))
	h.do(h.action("c2", "stop"))
	h.nothingLeft()
}

// TestManyFollowAProfile takes more instances than there is room for in one commit, and a daemon that ends in between.
func TestManyFollowAProfile(t *testing.T) {
	const many = maxTogether + 5
	h := newHouse(t, nil)
	nic := map[string]string{"type": "nic"}
	h.profile("p", nil, map[string]map[string]string{"eth9": nic})
	names := []string{}
	for n := range many {
		names = append(names, "c"+string(rune('a'+n/26))+string(rune('a'+n%26)))
		h.launch(names[n], using("p"))
	}
	most, commits := 0, 0
	ended := errors.New("ended")
	h.engine.refuse = func(ops []store.Op) error {
		most = max(most, len(ops))
		for _, op := range ops {
			if strings.HasPrefix(op.Key, "/instance-runs/") {
				if commits++; commits > 1 {
					return ended
				}
				break
			}
		}
		return nil
	}
	h.do(h.putProfile("p", map[string]string{"limits.memory": "50%"}, map[string]map[string]string{"eth2": nic}))
	if most > 100 {
		t.Errorf("a commit has %d ops", most)
	}
	h.engine.refuse = nil
	next := newHouse(t, h)
	next.do(next.Journal.Recover(t.Context()))
	next.do(next.Adopt(t.Context()))
	now := next.situation()
	for _, name := range names {
		if l := now.Live[name]; l.Limits["limits.memory"] != "50%" || len(l.Devices) != 4 || !now.Plugged[name+"/eth2"] || now.Plugged[name+"/eth9"] {
			t.Fatalf("%s is kept as having %+v", name, l)
		}
	}
	if n := next.Journal.Pending(); n != 0 {
		t.Errorf("%d journal entries are left", n)
	}
}

// TestTwoProfilesChangeAtOnce: each is computed from what the other has left.
func TestTwoProfilesChangeAtOnce(t *testing.T) {
	h := newHouse(t, nil)
	h.profile("p", nil, nil)
	h.profile("q", nil, nil)
	h.launch("c1", using("p", "q"))
	held, err := h.Locks.Acquire(t.Context(), claim("update", lock.Long), lock.Exclusive(lock.ForInstance("default", "c1")))
	h.do(err)
	var all sync.WaitGroup
	waiting := make(chan struct{}, 3)
	try := func(f func() error) {
		all.Go(func() {
			waiting <- struct{}{}
			if err := f(); err != nil {
				t.Error(err)
			}
		})
	}
	try(func() error { return h.putProfile("p", map[string]string{"limits.memory": "20%"}, nil) })
	try(func() error { return h.putProfile("q", map[string]string{"limits.processes": "50"}, nil) })
	try(func() error { return h.patch("c1", nil, map[string]map[string]string{"eth2": {"type": "nic"}}) })
	for range 3 {
		<-waiting
	}
	held.Release()
	all.Wait()
	g := h.rt.limits["c1"]
	if g.MemoryLimit == nil || *g.MemoryLimit != (1<<30)/100*20 || g.Pids == nil || *g.Pids != 50 {
		t.Errorf("limits are %+v", g)
	}
	h.do(h.action("c1", "stop"))
	h.nothingLeft()
}

// TestRebalancingWritesNothingButCPUs: while another instance's limits change, what is written of it is not what its record
// says.
func TestRebalancingWritesNothingButCPUs(t *testing.T) {
	h := newHouse(t, nil)
	ask := func(r *api.InstancesPost) { r.Config = map[string]string{"limits.cpu": "1", "limits.memory": "10%"} }
	h.launch("c1", ask)
	h.create("c2", ask)
	h.rt.limited = func() { h.do(h.action("c2", "start")) }
	h.do(h.patch("c1", map[string]string{"limits.memory": "50%"}, nil))
	c1, c2 := h.rt.limits["c1"], h.rt.limits["c2"]
	if *c1.MemoryLimit != (1<<30)/100*50 {
		t.Errorf("the limit is %d", *c1.MemoryLimit)
	}
	if c1.CPUSet == c2.CPUSet || c1.CPUSet == "" || c2.CPUSet == "" {
		t.Errorf("CPUs are %q and %q", c1.CPUSet, c2.CPUSet)
	}
}

// TestARollBackLeavesWhatWasInForce: what the limits were before is what the host says, not what the configuration would set.
func TestARollBackLeavesWhatWasInForce(t *testing.T) {
	h := newHouse(t, nil)
	h.launch("c1", nil)
	pids := int64(50)
	was := h.rt.limits["c1"]
	was.Pids = &pids // raw.lxc
	h.rt.limits["c1"] = was
	if err := h.patch("c1", map[string]string{"limits.memory": "50%", "limits.processes": "9"}, map[string]map[string]string{"eth2": {"type": "nic", "stuck": "1"}}); err == nil {
		t.Fatal("it was plugged")
	}
	if diff := cmp.Diff(was, h.rt.limits["c1"]); diff != "" {
		t.Error(diff)
	}
}

// TestAStoredLiveIsWhatWasPut: recovery decodes what a change has written.
func TestAStoredLiveIsWhatWasPut(t *testing.T) {
	h := newHouse(t, nil)
	h.launch("c1", nil)
	w := stepRecord{Project: "default", Name: "c1", Before: h.liveNow(&Instance{Project: "default", Name: "c1"}), Seen: map[string]json.RawMessage{"eth0": json.RawMessage(`{"a":1}`)},
		SeenLimits: json.RawMessage(`[1]`)}
	data, err := json.Marshal(w)
	h.do(err)
	var back stepRecord
	h.do(json.Unmarshal(data, &back))
	if diff := cmp.Diff(w, back, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}
