package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/internal/spec"
)

// contents reads the files of a group.
func contents(t *testing.T, root string, names map[string]string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for name := range names {
		raw, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(raw)
	}
	return got
}

// TestAChangeOfOneLimitLeavesTheOthers: what raw.lxc has set is nobody else's to lift.
func TestAChangeOfOneLimitLeavesTheOthers(t *testing.T) {
	for name, c := range map[string]struct {
		mounts, own string
		files, then map[string]string
	}{
		"v1": {v1Mounts, "1:cpu,cpuacct:/\n2:memory:/\n", map[string]string{
			"cpu/c/cpu.shares": "77", "cpu/c/cpu.cfs_quota_us": "5000", "memory/c/memory.swappiness": "5", "pids/c/pids.max": "50",
			"memory/c/memory.limit_in_bytes": "9223372036854771712", "memory/c/memory.memsw.limit_in_bytes": "9223372036854771712",
		}, map[string]string{"memory/c/memory.limit_in_bytes": "1048576", "memory/c/memory.memsw.limit_in_bytes": "1048576"}},
		"v2": {v2, "0::/\n", map[string]string{
			"u/cgroup.controllers": "cpuset cpu io memory pids", "u/c/cpu.weight": "77", "u/c/cpu.max": "5000 100000", "u/c/memory.high": "7",
			"u/c/memory.swap.max": "0", "u/c/pids.max": "50", "u/c/memory.max": "max", "u/c/io.weight": "default 7", "u/c/cpuset.cpus": "0",
		}, map[string]string{"u/c/memory.max": "1048576"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, root := fake(t, c.mounts, c.own, c.files)
			g := h.Group("c")
			limited := spec.Cgroup{MemoryLimit: ptr(1 << 20), SwapLimit: ptr(1 << 20)}
			change := h.Changes(spec.Cgroup{}, limited)
			seen, err := g.Look(change)
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Write(change); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{}
			for file, value := range c.files {
				want[file] = value
				if now, ok := c.then[file]; ok {
					want[file] = now + value[min(len(now), len(value)):] // a file here keeps what a shorter write leaves of it
				}
			}
			if diff := cmp.Diff(want, contents(t, root, c.files)); diff != "" {
				t.Error(diff)
			}
			if changes := h.Changes(limited, limited); len(changes) > 0 {
				t.Errorf("no change writes %v", changes)
			}
			for _, s := range seen {
				if want := c.files[filepath.Join(map[bool]string{true: "u", false: s.Controller}[s.V2], "c", s.File)]; s.Value != want {
					t.Errorf("%s was seen as %q and is %q", s.File, s.Value, want)
				}
			}
		})
	}
}

// TestALimitThatIsUnsetIsLifted, to what is usual of the file that the kernel has.
func TestALimitThatIsUnsetIsLifted(t *testing.T) {
	for name, c := range map[string]struct{ mounts, file, want string }{
		"v1":  {"35 31 0:31 / ROOT/blkio rw - cgroup cgroup rw,blkio\n", "blkio/blkio.weight", "500"},
		"bfq": {"35 31 0:31 / ROOT/blkio rw - cgroup cgroup rw,blkio\n", "blkio/blkio.bfq.weight", "100"},
		"v2":  {v2, "u/io.weight", "default 100"},
	} {
		h, _ := fake(t, c.mounts, "0::/\n", map[string]string{c.file: "", "u/cgroup.controllers": "io"})
		before := spec.Cgroup{BlkioWeight: ptr(300)}
		changes := h.Changes(before, spec.Cgroup{})
		if len(changes) != 1 || changes[0].File != filepath.Base(c.file) || changes[0].Value != c.want {
			t.Errorf("%s: %+v", name, changes)
		}
	}
}

// TestALookReadsWhatIsUsualOfAll: files with a line for each device, and the list of CPUs that is empty.
func TestALookReadsWhatIsUsualOfAll(t *testing.T) {
	h, _ := fake(t, v2, "0::/\n", map[string]string{
		"u/cgroup.controllers": "cpuset io", "u/cpuset.cpus.effective": "0-3\n", "u/c/cpuset.cpus": "\n", "u/c/io.weight": "default 70\n8:0 30\n",
	})
	seen, err := h.Group("c").Look(h.Changes(spec.Cgroup{}, spec.Cgroup{CPUSet: "1", BlkioWeight: ptr(100)}))
	want := []Setting{{"cpuset", true, "cpuset.cpus", "0-3"}, {"blkio", true, "io.weight", "default 70"}}
	if diff := cmp.Diff(want, seen); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := h.Group("gone").Look(h.Changes(spec.Cgroup{}, spec.Cgroup{CPUSet: "1"})); err == nil {
		t.Error("a group that is not there was read")
	}
}
