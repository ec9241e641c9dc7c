package instance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
)

func withNIC(req *api.InstancesPost) {
	req.Devices = map[string]map[string]string{"eth0": {"type": "nic"}}
}

func TestLifeOfAnInstance(t *testing.T) {
	h := newHouse(t, nil)
	h.engine.commits = 0
	h.create("c1", withNIC)
	if h.engine.commits > 2 {
		t.Errorf("create took %d commits", h.engine.commits)
	}
	i := h.show("c1")
	for key, want := range map[string]string{
		"image.os": "BusyBox", "volatile.base_image": "f00d", "volatile.apply_template": "create",
		"volatile.eth0.hwaddr": "00:16:3e:00:00:01", "volatile.idmap.base": "0", "volatile.last_state.idmap": "[]",
	} {
		if i.Config[key] != want {
			t.Errorf("%s is %q", key, i.Config[key])
		}
	}
	if to, err := os.Readlink(filepath.Join(h.root, "containers", "c1")); err != nil || to != h.volumes.root+"/storage-pools/p1/containers/c1" {
		t.Errorf("link %q %v", to, err)
	}
	h.engine.commits = 0
	h.do(h.action("c1", "start"))
	if h.engine.commits > 1 {
		t.Errorf("start took %d commits", h.engine.commits)
	}
	i = h.show("c1")
	if i.Status != "Running" || i.Config["volatile.last_state.power"] != "RUNNING" || i.Config["volatile.eth0.host_name"] != "veth-eth0" ||
		i.Config["volatile.apply_template"] != "" || i.LastUsedAt.Equal(never) {
		t.Errorf("%+v", i)
	}
	if err := h.action("c1", "start"); err == nil || err.Error() != "The instance is already running" {
		t.Error(err)
	}
	if err := h.run(h.Delete(t.Context(), "default", "c1")); err == nil || err.Error() != "Instance is running" {
		t.Error(err)
	}
	h.do(h.action("c1", "freeze"))
	h.do(h.action("c1", "restart"))
	h.do(h.action("c1", "stop"))
	i = h.show("c1")
	if i.Status != "Stopped" || i.Config["volatile.last_state.power"] != "STOPPED" || i.Config["volatile.eth0.host_name"] != "" {
		t.Errorf("%+v", i)
	}
	h.nothingLeft()
	h.engine.commits = 0
	h.do(h.run(h.Delete(t.Context(), "default", "c1")))
	if h.engine.commits > 2 {
		t.Errorf("delete took %d commits", h.engine.commits)
	}
	if h.Exists("default", "c1") {
		t.Error("it still exists")
	}
	if _, err := os.Lstat(filepath.Join(h.root, "containers", "c1")); err == nil {
		t.Error("its link still exists")
	}
	want := []string{
		"instance-created /1.0/instances/c1", "instance-started /1.0/instances/c1", "instance-paused /1.0/instances/c1",
		"instance-resumed /1.0/instances/c1", "instance-restarted /1.0/instances/c1", "instance-shutdown /1.0/instances/c1",
		"instance-deleted /1.0/instances/c1",
	}
	if diff := cmp.Diff(want, h.events.take()); diff != "" {
		t.Error(diff)
	}
}

func TestCreateRefuses(t *testing.T) {
	h := newHouse(t, nil)
	h.create("taken", nil)
	for name, c := range map[string]struct {
		change func(*api.InstancesPost)
		want   string
	}{
		"key":      {func(r *api.InstancesPost) { r.Config = map[string]string{"foo": "bar"} }, "Failed creating instance record: Unknown configuration key: foo"},
		"cpu":      {func(r *api.InstancesPost) { r.Config = map[string]string{"limits.cpu": "x"} }, `Failed creating instance record: Invalid CPU limit syntax (limits.cpu="x"; allowed: a number, or a set or range such as 0,2-3)`},
		"rawlxc":   {func(r *api.InstancesPost) { r.Config = map[string]string{"raw.lxc": "a"} }, `Failed creating instance record: Invalid raw.lxc line: a (raw.lxc="a")`},
		"root":     {func(r *api.InstancesPost) { r.Profiles = []string{} }, "Failed creating instance record: Failed initialising instance: Failed getting root disk: No root device could be found"},
		"profile":  {func(r *api.InstancesPost) { r.Profiles = []string{"nope"} }, `Requested profile "nope" doesn't exist`},
		"image":    {func(r *api.InstancesPost) { r.Source.Alias = "nope" }, "Image not found"},
		"source":   {func(r *api.InstancesPost) { r.Source.Type = "bogus" }, "Unknown source type bogus"},
		"type":     {func(r *api.InstancesPost) { r.Type = "foo" }, "Invalid instance type"},
		"name":     {func(r *api.InstancesPost) { r.Name = "a_b" }, "Invalid instance name: Name can only contain alphanumeric and hyphen characters"},
		"existing": {func(r *api.InstancesPost) { r.Name = "taken" }, `Failed creating instance record: Add instance info to the database: This "instances" entry already exists`},
		"pool": {func(r *api.InstancesPost) {
			r.Devices = map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "bla"}}
		}, "Failed creating instance record: Failed initialising instance: Failed loading storage pool: Storage pool not found"},
		"device": {func(r *api.InstancesPost) { r.Devices = map[string]map[string]string{"foo": {"type": "foo"}} },
			`Failed creating instance record: Failed initialising instance: Invalid devices: Device validation failed for "foo": Failed loading device "foo": Unsupported device type`},
	} {
		t.Run(name, func(t *testing.T) {
			req := api.InstancesPost{Name: "c1", Source: api.InstanceSource{Type: "image", Alias: "img"}}
			c.change(&req)
			err := h.run(h.Create(t.Context(), "default", req))
			if err == nil || err.Error() != c.want {
				t.Errorf("%v", err)
			}
			if h.Exists("default", "c1") {
				t.Error("it exists")
			}
		})
	}
	h.nothingLeft()
}

func TestFailedStartLeavesNothing(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", withNIC)
	h.rt.fail = errors.New("no")
	if err := h.action("c1", "start"); err == nil {
		t.Fatal("it started")
	}
	h.nothingLeft()
	i := h.show("c1")
	if i.Config["volatile.last_state.power"] == "RUNNING" || i.Config["volatile.apply_template"] != "create" || i.Config["volatile.eth0.host_name"] != "" {
		t.Errorf("%v", i.Config)
	}
	h.rt.fail = nil
	h.do(h.action("c1", "start"))
}

func TestStopFromInside(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", withNIC)
	h.create("eph", func(r *api.InstancesPost) { r.Ephemeral = true })
	for _, name := range []string{"c1", "eph"} {
		h.do(h.action(name, "start"))
		r := h.runs.get(name)
		h.rt.exit(name)
		<-r.done
	}
	h.nothingLeft()
	if h.Exists("default", "eph") {
		t.Error("the ephemeral instance is still there")
	}
	if got := h.show("c1").Config["volatile.last_state.power"]; got != "STOPPED" {
		t.Error(got)
	}
}

func TestForceJoinsACleanStop(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.do(h.action("c1", "start"))
	h.rt.stuck = make(chan struct{})
	clean := make(chan error, 1)
	go func() { clean <- h.action("c1", "stop") }()
	for end := time.Now().Add(10 * time.Second); h.Locks.Holder(lock.ForInstance("default", "c1")) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the clean stop does not begin")
		}
	}
	if err := h.action("c1", "restart"); err == nil || err.Error() != `Instance is busy running a "stop" operation` {
		t.Error(err)
	}
	h.do(h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "stop", Force: true})))
	h.do(<-clean)
	h.nothingLeft()
}

func TestSnapshotsAndRestore(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	snap := func(name string) error {
		return h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: name}))
	}
	h.do(snap(""))
	h.do(snap(""))
	if err := snap("snap0"); err == nil || !strings.Contains(err.Error(), `This "instances_snapshots" entry already exists`) {
		t.Error(err)
	}
	for _, bad := range []string{"a/b", "a b", ".."} {
		if snap(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	h.do(h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: map[string]string{"limits.cpu": "1"}}, func(string) bool { return false }, anyRevision))
	id := h.show("c1").Config["volatile.uuid"]
	h.do(h.run(h.Restore(t.Context(), "default", "c1", "snap0", anyRevision)))
	if c := h.show("c1").Config; c["limits.cpu"] != "" || c["volatile.uuid"] != id {
		t.Errorf("%v", c)
	}
	if err := h.run(h.Restore(t.Context(), "default", "c1", "nope", anyRevision)); err == nil || err.Error() != "Snapshot c1/nope does not exist" {
		t.Error(err)
	}
	h.do(h.run(h.RenameSnapshot(t.Context(), "default", "c1", "snap1", api.InstanceSnapshotPost{Name: "x"})))
	h.do(h.run(h.Post(t.Context(), "default", "c1", api.InstancePost{Name: "c2"})))
	if _, err := os.Stat(filepath.Join(h.root, "snapshots", "c2", "x")); err != nil {
		t.Error(err)
	}
	h.do(h.run(h.DeleteSnapshot(t.Context(), "default", "c2", "x")))
	list, err := h.Snapshots(t.Context(), "default", "c2")
	h.do(err)
	if len(list) != 1 || list[0].Name != "snap0" {
		t.Errorf("%+v", list)
	}
	h.nothingLeft()
}

func TestCopyAndRefresh(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", func(r *api.InstancesPost) { r.Config = map[string]string{"user.a": "1"} })
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{})))
	copyTo := func(name, from string, refresh bool) error {
		return h.run(h.Create(t.Context(), "default", api.InstancesPost{Name: name, Source: api.InstanceSource{Type: "copy", Source: from, Refresh: refresh}}))
	}
	h.do(copyTo("c2", "c1", false))
	i := h.show("c2")
	if i.Config["user.a"] != "1" || i.Config["volatile.apply_template"] != "copy" || i.Config["volatile.uuid"] == h.show("c1").Config["volatile.uuid"] {
		t.Errorf("%v", i.Config)
	}
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{})))
	h.do(h.run(h.DeleteSnapshot(t.Context(), "default", "c1", "snap0")))
	h.do(os.WriteFile(filepath.Join(h.root, "containers/c1/rootfs/new"), nil, 0o644))
	h.do(copyTo("c2", "c1", true))
	list, _ := h.Snapshots(t.Context(), "default", "c2")
	if len(list) != 1 || list[0].Name != "snap1" {
		t.Errorf("%+v", list)
	}
	if _, err := os.Stat(filepath.Join(h.root, "containers/c2/rootfs/new")); err != nil {
		t.Error(err)
	}
	h.do(copyTo("c3", "c1/snap1", false))
	if err := copyTo("c4", "nope", false); err == nil || err.Error() != `Failed to fetch instance "nope" in project "default": Instance not found` {
		t.Error(err)
	}
	h.nothingLeft()
}

func TestMoveToAnotherPool(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{})))
	h.do(h.run(h.Post(t.Context(), "default", "c1", api.InstancePost{Name: "c2", Migration: true, Pool: "p2"})))
	if got := h.show("c2").ExpandedDevices["root"]["pool"]; got != "p2" {
		t.Error(got)
	}
	if to, _ := os.Readlink(filepath.Join(h.root, "containers/c2")); !strings.Contains(to, "/p2/") {
		t.Error(to)
	}
	for _, old := range []string{"storage-pools/p1/containers/c1", "storage-pools/p1/containers-snapshots/c1"} {
		if _, err := os.Lstat(filepath.Join(h.root, old)); err == nil {
			t.Errorf("%s is left", old)
		}
	}
	h.nothingLeft()
}

// TestAMoveIsRefusedAsAWhole: what is wrong with one part of a request, a new name or a pool, is said before the other part is done.
func TestAMoveIsRefusedAsAWhole(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.create("c2", nil)
	for _, req := range []api.InstancePost{{Name: "c2", Pool: "p2"}, {Name: "not_a_name", Pool: "p2"}, {Name: "c3", Pool: "nosuch"}} {
		req.Migration = true
		if err := h.run(h.Post(t.Context(), "default", "c1", req)); err == nil {
			t.Errorf("to %q on %s: taken", req.Name, req.Pool)
		}
		if got := h.show("c1").ExpandedDevices["root"]["pool"]; got != "p1" {
			t.Errorf("to %q on %s: refused, and it is on %s", req.Name, req.Pool, got)
		}
		h.nothingLeft()
	}
}

func TestLiveChanges(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.do(h.action("c1", "start"))
	patch := func(p api.InstancePut) error {
		return h.Patch(t.Context(), "default", "c1", p, func(string) bool { return false }, anyRevision)
	}
	h.do(patch(api.InstancePut{Config: map[string]string{"limits.memory": "10%"}}))
	if got := h.rt.limits["c1"].MemoryLimit; got == nil || *got != (1<<30)/100*10 {
		t.Errorf("%v", got)
	}
	h.do(patch(api.InstancePut{Devices: map[string]map[string]string{"eth0": {"type": "nic"}}}))
	if !h.nic.plugged["c1/eth0"] || h.show("c1").Config["volatile.eth0.host_name"] == "" {
		t.Error("not plugged")
	}
	// A device that fails in the last step leaves everything as it was.
	if patch(api.InstancePut{Devices: map[string]map[string]string{"eth1": {"type": "nic", "stuck": "1"}}}) == nil {
		t.Error("no error")
	}
	if _, ok := h.show("c1").Devices["eth1"]; ok || h.nic.up["c1/eth1"] {
		t.Error("eth1 is left")
	}
	put := h.show("c1").InstancePut
	put.Devices = nil
	h.do(h.run(h.Put(t.Context(), "default", "c1", put, anyRevision)))
	if h.nic.up["c1/eth0"] {
		t.Error("eth0 is left")
	}
	for key := range h.show("c1").Config {
		if strings.HasPrefix(key, "volatile.eth0.") {
			t.Error(key)
		}
	}
	put.Config = map[string]string{}
	if err := h.run(h.Put(t.Context(), "default", "c1", put, anyRevision)); err == nil || err.Error() != "Volatile idmap keys can't be deleted by the user" {
		t.Error(err)
	}
	h.do(h.action("c1", "stop"))
	h.nothingLeft()
}

func TestRestartOfTheDaemon(t *testing.T) {
	h := newHouse(t, nil)
	for _, name := range []string{"alive", "died", "off", "auto"} {
		h.create(name, withNIC)
	}
	for _, name := range []string{"alive", "died"} {
		h.do(h.action(name, "start"))
	}
	h.do(h.Patch(t.Context(), "default", "auto", api.InstancePut{Config: map[string]string{"boot.autostart": "true"}}, func(string) bool { return false }, anyRevision))
	h.Close()
	delete(h.rt.state, "died")        // while no daemon was there
	h.rt.state["ghost"] = api.Running // of no instance

	h2 := newHouse(t, h)
	h2.do(h2.Journal.Recover(t.Context()))
	h2.do(h2.Adopt(t.Context()))
	if h2.rt.Status("ghost") != api.Running {
		t.Error("an instance that the store does not know was ended")
	}
	delete(h.rt.state, "ghost")
	if h2.nic.up["died/eth0"] || !h2.nic.up["alive/eth0"] {
		t.Errorf("%v", h2.nic.up)
	}
	h2.Autostart()
	h2.tasks.Wait()
	var running []string
	for _, i := range h2.List(t.Context(), "default", func(i *api.Instance) bool { return i.Status == "Running" }) {
		running = append(running, i.Name)
	}
	if !slices.Equal(running, []string{"alive", "auto", "died"}) {
		t.Error(running)
	}
	// What it has adopted it also sees end.
	r := h2.runs.get("alive")
	h2.rt.exit("alive")
	<-r.done
	if got := h2.show("alive").Config["volatile.last_state.power"]; got != "STOPPED" {
		t.Error(got)
	}
	h2.StopAll(t.Context())
	if got := h2.show("auto").Config["volatile.last_state.power"]; got != "RUNNING" {
		t.Error(got)
	}
	h2.nothingLeft()
}

func TestTemplates(t *testing.T) {
	h := newHouse(t, nil)
	h.images.metadata = "architecture: x86_64\ncreation_date: 1\ntemplates:\n  /etc/hostname:\n    when: [create, copy]\n    template: t.tpl\n"
	h.images.template = "{{ instance.name }} {{ config_get(\"user.foo\", \"unset\") }}\n"
	h.create("c1", nil)
	file := filepath.Join(h.root, "containers/c1/rootfs/etc/hostname")
	if _, err := os.Stat(file); err == nil {
		t.Error("rendered before the start")
	}
	h.do(h.action("c1", "start"))
	if got, _ := os.ReadFile(file); string(got) != "c1 unset\n" {
		t.Errorf("%q", got)
	}
	h.do(h.action("c1", "stop"))
	// A link out of the root file system is not followed.
	out := filepath.Join(t.TempDir(), "out")
	h.do(os.Remove(file))
	h.do(os.Symlink(out, file))
	h.do(h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: map[string]string{"volatile.apply_template": "create"}}, func(string) bool { return false }, anyRevision))
	if h.action("c1", "start") == nil {
		t.Error("no error")
	}
	if _, err := os.Lstat(out); err == nil {
		t.Error("written outside")
	}
	names, err := h.Templates(t.Context(), "default", "c1")
	if err != nil || !slices.Equal(names, []string{"t.tpl"}) {
		t.Error(names, err)
	}
	if h.SetTemplate(t.Context(), "default", "c1", "../x", strings.NewReader("")) == nil {
		t.Error("a path was taken for a name")
	}
}

func TestAStartLeavesTheLimitsOfOthersInForce(t *testing.T) {
	h := newHouse(t, nil)
	for _, name := range []string{"c1", "c2"} {
		h.create(name, func(r *api.InstancesPost) {
			r.Config = map[string]string{"limits.cpu": "1", "limits.memory": "64MiB", "limits.processes": "50"}
		})
		h.do(h.action(name, "start"))
	}
	h.rt.mu.Lock()
	defer h.rt.mu.Unlock()
	g, ok := h.rt.limits["c1"]
	if !ok || g.CPUSet == "" || g.MemoryLimit == nil || *g.MemoryLimit != 64<<20 || g.Pids == nil || *g.Pids != 50 {
		t.Errorf("c1 has %+v after c2 has started", g)
	}
}

func TestKernelModulesAreLoadedBeforeTheStart(t *testing.T) {
	h := newHouse(t, nil)
	var loaded []string
	h.LoadModule = func(_ context.Context, name string) error {
		if name == "bad" {
			return errors.New("Failed to load kernel module 'bad'")
		}
		loaded = append(loaded, name)
		return nil
	}
	h.create("c1", func(r *api.InstancesPost) {
		r.Config = map[string]string{"linux.kernel_modules": "overlay, br_netfilter"}
	})
	h.do(h.action("c1", "start"))
	if !slices.Equal(loaded, []string{"overlay", "br_netfilter"}) {
		t.Errorf("loaded %q", loaded)
	}
	set := func(v string) error {
		return h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: map[string]string{"linux.kernel_modules": v}}, func(string) bool { return false }, anyRevision)
	}
	h.do(set("nfs"))
	if loaded[len(loaded)-1] != "nfs" {
		t.Errorf("a change while it runs loads %q", loaded)
	}
	if err := set("bad"); err == nil || h.show("c1").Config["linux.kernel_modules"] != "nfs" {
		t.Errorf("a module that cannot be loaded: %v", err)
	}
	h.do(h.action("c1", "stop"))
	h.do(set("bad"))
	if err := h.action("c1", "start"); err == nil {
		t.Error("it starts without its module")
	}
	h.nothingLeft()
}

// TestNoProfiles: Debian's lxc says with null that an instance is to have none.
func TestNoProfiles(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	put := api.InstancePut{Config: h.show("c1").Config, Devices: map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "p1"}}}
	h.do(h.run(h.Put(t.Context(), "default", "c1", put, anyRevision)))
	if got := h.show("c1").Profiles; len(got) != 0 {
		t.Errorf("it has %v", got)
	}
}
