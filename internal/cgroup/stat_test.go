package cgroup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStatOfV1(t *testing.T) {
	mounts := v1Mounts + "38 31 0:34 / ROOT/blkio rw - cgroup cgroup rw,blkio\n39 31 0:35 / ROOT/cpuset rw - cgroup cgroup rw,cpuset\n"
	h, _ := fake(t, mounts, "1:cpu,cpuacct:/\n2:memory:/\n3:blkio:/\n4:cpuset:/\n", map[string]string{
		"cpu/c/cpuacct.usage_percpu_user": "5 0 7 \n", "cpu/c/cpuacct.usage_percpu_sys": "1 2 3 \n",
		"memory/c/memory.stat":                              "cache 1\nrss 2\ntotal_cache 10\ntotal_rss 20\ntotal_swap 5\ntotal_active_anon 3\ntotal_inactive_file 4\n",
		"memory/c/memory.oom_control":                       "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
		"blkio/c/blkio.throttle.io_service_bytes_recursive": "254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 1\n254:0 Total 12288\n8:16 Write 1\nTotal 12288\n",
		"blkio/c/blkio.throttle.io_serviced_recursive":      "254:0 Read 1\n254:0 Write 2\n8:16 Write 9\nTotal 3\n",
		"cpuset/c/cpuset.effective_cpus":                    "0-2\n",
	})
	g := h.Group("c")
	times, err := g.CPUTimes()
	if diff := cmp.Diff([]CPUTime{{0, 5, 1}, {1, 0, 2}, {2, 7, 3}}, times); err != nil || diff != "" {
		t.Error(err, diff)
	}
	m, err := g.MemoryStat()
	if diff := cmp.Diff(MemoryStat{Cached: 10, RSS: 20, Swap: 5, ActiveAnon: 3, InactiveFile: 4, OOMKills: 3}, m); err != nil || diff != "" {
		t.Error(err, diff)
	}
	disks, err := g.DiskIO()
	want := []DiskIO{{Major: 254, ReadBytes: 4096, WrittenBytes: 8192, Reads: 1, Writes: 2}, {Major: 8, Minor: 16, WrittenBytes: 1, Writes: 9}}
	if diff := cmp.Diff(want, disks); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if cpus := g.EffectiveCPUs(); cpus != "0-2" {
		t.Error(cpus)
	}
}

func TestStatOfV2(t *testing.T) {
	h, _ := fake(t, v2, "0::/\n", map[string]string{
		"u/cgroup.controllers": "cpuset cpu io memory pids\n",
		"u/c/cpu.stat":         "usage_usec 30\nuser_usec 20\nsystem_usec 10\n",
		"u/c/memory.stat":      "anon 20\nfile 10\nfile_dirty 2\nunevictable 1\n", "u/c/memory.events": "low 0\noom 4\noom_kill 3\n", "u/c/memory.swap.current": "5\n",
		"u/c/io.stat":               "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:16 \n",
		"u/c/cpuset.cpus.effective": "1\n",
	})
	g := h.Group("c")
	times, err := g.CPUTimes()
	if diff := cmp.Diff([]CPUTime{{0, 20000, 10000}}, times); err != nil || diff != "" {
		t.Error(err, diff)
	}
	m, err := g.MemoryStat()
	if diff := cmp.Diff(MemoryStat{Cached: 10, RSS: 20, Swap: 5, Dirty: 2, Unevictable: 1, OOMKills: 3}, m); err != nil || diff != "" {
		t.Error(err, diff)
	}
	disks, err := g.DiskIO()
	if diff := cmp.Diff([]DiskIO{{Major: 254, ReadBytes: 4096, WrittenBytes: 8192, Reads: 1, Writes: 2}}, disks); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if cpus := g.EffectiveCPUs(); cpus != "1" {
		t.Error(cpus)
	}
}

// A host that does not count something says so, and no figure is made up.
func TestStatOfAHostWithoutControllers(t *testing.T) {
	h, _ := fake(t, v2, "0::/\n", map[string]string{"u/cgroup.controllers": "\n"})
	g := h.Group("c")
	_, cpu := g.CPUTimes() // the group is not there
	_, memory := g.MemoryStat()
	_, disk := g.DiskIO()
	if cpu == nil || memory == nil || disk == nil || g.EffectiveCPUs() != "" {
		t.Error(cpu, memory, disk)
	}
}
