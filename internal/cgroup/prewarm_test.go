package cgroup

import (
	"os"
	"strings"
	"testing"
)

func TestProcsOfAHierarchy(t *testing.T) {
	const groups = "9:name=systemd:/init.scope\n4:cpu,cpuacct:/machine/berth\n0::/system.slice/berth.service\n"
	for _, c := range []struct {
		m    hierarchy
		want string
	}{
		{hierarchy{"/sys/fs/cgroup", "/", ""}, "/sys/fs/cgroup/system.slice/berth.service/cgroup.procs"},
		{hierarchy{"/sys/fs/cgroup/cpu", "/", "cpuacct"}, "/sys/fs/cgroup/cpu/machine/berth/cgroup.procs"},
		{hierarchy{"/sys/fs/cgroup/cpu", "/machine", "cpu"}, "/sys/fs/cgroup/cpu/berth/cgroup.procs"},
		{hierarchy{"/sys/fs/cgroup/cpu", "/elsewhere", "cpu"}, ""},
		// Where process 1 is, this one may be too: its group is its own, not the one above.
		{hierarchy{"/sys/fs/cgroup/systemd", "/", "name=systemd"}, "/sys/fs/cgroup/systemd/init.scope/cgroup.procs"},
		{hierarchy{"/sys/fs/cgroup/pids", "/", "pids"}, ""},
	} {
		if got := c.m.procs(strings.NewReader(groups)); got != c.want {
			t.Errorf("%+v: %q, want %q", c.m, got, c.want)
		}
	}
}

// Prewarm moves this process to where it is, and so nowhere.
func TestPrewarmMovesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	h, err := Probe()
	if err != nil {
		t.Fatal(err)
	}
	groups := func() string {
		raw, err := os.ReadFile("/proc/self/cgroup")
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	before := groups()
	procs := h.ownProcs()
	if procs == "" {
		t.Fatalf("no group of this process in %+v", h.some)
	}
	if err := write(procs, "0"); err != nil {
		t.Errorf("moving this process to its own group: %v", err)
	}
	if after := groups(); after != before {
		t.Errorf("groups changed:\n%s\n%s", before, after)
	}
}
