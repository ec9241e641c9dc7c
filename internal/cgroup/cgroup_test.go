package cgroup

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/internal/spec"
)

func ptr(n int64) *int64 { return &n }

// fake makes the folders of a host below a temporary one.
func fake(t *testing.T, mounts, own string, files map[string]string) (*Host, string) {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h, err := probe(strings.NewReader(strings.ReplaceAll(mounts, "ROOT", root)), strings.NewReader(own))
	if err != nil {
		t.Fatal(err)
	}
	return h, root
}

const (
	v1Mounts = `32 31 0:29 / ROOT/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / ROOT/memory rw,relatime shared:3 - cgroup cgroup rw,memory
34 31 0:30 / ROOT/pids rw,relatime - cgroup cgroup rw,pids
35 31 0:31 / ROOT/freezer rw - cgroup cgroup rw,freezer
36 31 0:32 / ROOT/systemd rw - cgroup cgroup rw,name=systemd
`
	hybrid = v1Mounts + "37 31 0:33 / ROOT/unified rw - cgroup2 cgroup2 rw\n"
	v2     = "24 23 0:28 / ROOT/u rw - cgroup2 cgroup2 rw\n"
)

func TestLimitsOfV1(t *testing.T) {
	h, root := fake(t, v1Mounts, "1:cpu,cpuacct:/\n2:memory:/\n", map[string]string{
		"cpu/c/cpu.shares": "", "cpu/c/cpu.cfs_quota_us": "", "cpu/c/cpu.cfs_period_us": "",
		"memory/c/memory.limit_in_bytes": "", "memory/c/memory.memsw.limit_in_bytes": "", "pids/c/pids.max": "",
	})
	if h.Layout() != "cgroup" || h.Unified() || !h.Has("cpuacct") || h.Has("blkio") {
		t.Error(h)
	}
	c := spec.Cgroup{
		MemoryLimit: ptr(1 << 20), SwapLimit: ptr(3 << 20), Pids: ptr(7), CPUShares: ptr(512), BlkioWeight: ptr(100),
		CPUQuota: &spec.Quota{Quota: 25 * time.Millisecond, Period: 100 * time.Millisecond},
	}
	if err := h.Group("c").Write(h.Changes(spec.Cgroup{}, c)); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"cpu/c/cpu.shares": "512", "cpu/c/cpu.cfs_quota_us": "25000", "cpu/c/cpu.cfs_period_us": "100000",
		"memory/c/memory.limit_in_bytes": "1048576", "memory/c/memory.memsw.limit_in_bytes": "3145728", "pids/c/pids.max": "7",
	}
	got := map[string]string{}
	for name := range want {
		raw, _ := os.ReadFile(filepath.Join(root, name))
		got[name] = string(raw)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, missing := h.Settings(c); !cmp.Equal(missing, []string{"limits.disk.priority"}) {
		t.Error(missing)
	}
}

func TestLimitsOfV2(t *testing.T) {
	h, _ := fake(t, v2, "0::/init.scope\n", map[string]string{
		"u/cgroup.controllers": "cpuset cpu io memory pids\n", "u/x/memory.swap.max": "max", "u/x/io.weight": "",
	})
	if h.Layout() != "cgroup2" || !h.Unified() || !h.Has("freezer") || !h.Has("cpuacct") || h.Has("devices") {
		t.Error(h)
	}
	set, missing := h.Settings(spec.Cgroup{
		MemoryLimit: ptr(10), SwapLimit: ptr(30), NoSwap: true, MemorySoft: ptr(5), Pids: ptr(7), CPUSet: "0-1", CPUShares: ptr(1014), CPUWeight: ptr(90), BlkioWeight: ptr(10),
		CPUQuota: &spec.Quota{Quota: 25 * time.Millisecond, Period: 100 * time.Millisecond}, Swappiness: ptr(0),
	})
	got := map[string]string{}
	for _, s := range set {
		if !s.V2 {
			t.Errorf("%+v is not of v2", s)
		}
		got[s.File] = s.Value
	}
	want := map[string]string{
		"memory.max": "10", "memory.swap.max": "0", "memory.high": "5", "pids.max": "7", "cpuset.cpus": "0-1", "cpu.weight": "90",
		"io.weight": "default 2", "cpu.max": "25000 100000",
	}
	if diff := cmp.Diff(want, got); diff != "" || !cmp.Equal(missing, []string{"limits.memory.swap.priority"}) {
		t.Error(diff, missing)
	}
}

func TestUsage(t *testing.T) {
	for name, c := range map[string]struct {
		mounts string
		files  map[string]string
	}{
		"v1": {hybrid, map[string]string{
			"memory/c/memory.usage_in_bytes": "100\n", "memory/c/memory.max_usage_in_bytes": "200\n",
			"memory/c/memory.memsw.usage_in_bytes": "130\n", "memory/c/memory.memsw.max_usage_in_bytes": "240\n",
			"cpu/c/cpuacct.usage": "5000\n", "pids/c/pids.current": "3\n", "memory/c/memory.limit_in_bytes": "9223372036854771712\n",
			"freezer/c/freezer.state": "FROZEN\n", "unified/cgroup.controllers": "\n",
		}},
		"v2": {v2, map[string]string{
			"u/cgroup.controllers": "cpu memory pids\n", "u/c/memory.current": "100\n", "u/c/memory.peak": "200\n",
			"u/c/memory.swap.current": "30\n", "u/c/memory.swap.peak": "40\n", "u/c/cpu.stat": "usage_usec 5\nuser_usec 1\n",
			"u/c/pids.current": "3\n", "u/c/memory.max": "max\n", "u/c/cgroup.events": "populated 1\nfrozen 1\n",
		}},
	} {
		h, _ := fake(t, c.mounts, "0::/\n", c.files)
		g := h.Group("c")
		m, err1 := g.Memory()
		cpu, err2 := g.CPU()
		pids, err3 := g.Pids()
		frozen, err4 := g.Frozen()
		for _, err := range []error{err1, err2, err3, err4} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if want := (Memory{100, 200, 30, 40}); m != want || cpu != 5000 || pids != 3 || !frozen || g.MemoryLimit() != -1 {
			t.Errorf("%s: %+v %d %d %v %d", name, m, cpu, pids, frozen, g.MemoryLimit())
		}
	}
}

func TestGroupsBelowOnesOwn(t *testing.T) {
	h, root := fake(t, "1 1 0:1 /a ROOT/u rw - cgroup2 cgroup2 rw\n", "0::/a/b/init.scope\n", map[string]string{"u/b/cgroup.controllers": "pids\n", "u/b/g/cgroup.procs": "1\n0\n2\n"})
	if h.unified != filepath.Join(root, "u/b") {
		t.Error(h.unified)
	}
	if pids, err := h.Group("g").Procs(); err != nil || !cmp.Equal(pids, []int{1, 2}) {
		t.Error(pids, err)
	}
	if names, err := h.List("g"); err != nil || !cmp.Equal(names, []string{"g"}) {
		t.Error(names, err)
	}
}

// TestRealGroup freezes, kills and removes on the machine's own hierarchies.
func TestRealGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	h, err := Probe()
	if err != nil {
		t.Fatal(err)
	}
	g := h.Group("berth-test-" + strconv.Itoa(os.Getpid()))
	t.Cleanup(func() {
		if err := g.Remove(); err != nil || g.Exists() {
			t.Errorf("left: %v", err)
		}
	})
	for _, root := range h.roots() {
		if err := os.MkdirAll(filepath.Join(root, g.name, "below"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sleep := exec.Command("sleep", "1000")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- sleep.Wait() }()
	for _, root := range h.roots() {
		if root == h.v1["cpuset"] {
			continue // a new group has no CPUs yet
		}
		if err := write(filepath.Join(root, g.name, "cgroup.procs"), strconv.Itoa(sleep.Process.Pid)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if pids, err := g.Procs(); err != nil || !cmp.Equal(pids, []int{sleep.Process.Pid}) {
		t.Error(pids, err)
	}
	if h.Has("freezer") {
		if err := g.Freeze(ctx); err != nil {
			t.Error(err)
		}
		if frozen, err := g.Frozen(); err != nil || !frozen {
			t.Error(frozen, err)
		}
	}
	if err := g.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	<-done
}

func FuzzProbe(f *testing.F) {
	f.Add(hybrid, "1:cpu:/\n0::/x\n")
	f.Add("x - y", ":::")
	f.Fuzz(func(t *testing.T, mounts, own string) {
		if h, err := probe(strings.NewReader(mounts), strings.NewReader(own)); err == nil {
			h.roots()
		}
	})
}
