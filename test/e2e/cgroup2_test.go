package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/test/harness"
)

// unified skips where cgroup v2 is not all there is. `make lab` runs these tests where it is.
func unified(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		t.Skip("needs a host with cgroup v2 alone, such as the lab's")
	}
}

// payload reads a file of the control group that an instance's processes are in, as the host sees it.
func payload(d *harness.Daemon, name string) func(file string) string {
	d.T.Helper()
	found, err := filepath.Glob("/sys/fs/cgroup/lxc.payload.*." + name)
	if err != nil || len(found) != 1 {
		d.T.Fatalf("control groups of %s: %q %v", name, found, err)
	}
	return func(file string) string {
		raw, err := os.ReadFile(filepath.Join(found[0], file))
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(string(raw))
	}
}

// limitsOfV2 are configurations, and what the kernel is told.
var limitsOfV2 = []struct {
	keys []string
	want map[string]string
}{
	{nil, map[string]string{"memory.max": "max", "memory.swap.max": "max", "pids.max": "max", "cpu.weight": "100", "cpu.max": "max 100000", "cpuset.cpus": "all"}},
	{[]string{"limits.memory=64MiB"}, map[string]string{"memory.max": "67108864", "memory.swap.max": "max", "memory.high": "max"}},
	{[]string{"limits.memory=64MiB", "limits.memory.swap=true"}, map[string]string{"memory.max": "67108864", "memory.swap.max": "max"}},
	{[]string{"limits.memory=64MiB", "limits.memory.swap=false"}, map[string]string{"memory.max": "67108864", "memory.swap.max": "0"}},
	{[]string{"limits.memory.swap=false"}, map[string]string{"memory.max": "max", "memory.swap.max": "0"}},
	{[]string{"limits.memory=64MiB", "limits.memory.enforce=soft"}, map[string]string{"memory.max": "max", "memory.high": "67108864"}},
	{[]string{"limits.processes=77", "limits.cpu=1"}, map[string]string{"pids.max": "77", "cpuset.cpus": "0"}},
	{[]string{"limits.cpu=0-0", "limits.cpu.allowance=50%"}, map[string]string{"cpuset.cpus": "0", "cpu.weight": "50", "cpu.max": "max 100000"}},
	{[]string{"limits.cpu.allowance=25ms/100ms", "limits.cpu.priority=3"}, map[string]string{"cpu.weight": "93", "cpu.max": "25000 100000"}},
}

func TestLimitsOnV2Alone(t *testing.T) {
	unified(t)
	d := harness.New(t).Pool().Image()
	d.Berth("init", "bb", "c1")
	check := func(when string, n int) {
		t.Helper()
		read := payload(d, "c1")
		for file, want := range limitsOfV2[n].want {
			if want == "all" {
				all, err := os.ReadFile("/sys/fs/cgroup/cpuset.cpus.effective")
				if err != nil {
					t.Fatal(err)
				}
				want = strings.TrimSpace(string(all))
			}
			if got := read(file); got != want {
				t.Errorf("%s, %v: %s is %q, want %q", when, limitsOfV2[n].keys, file, got, want)
			}
		}
	}
	set := func(n int) {
		var yaml strings.Builder
		yaml.WriteString("config:\n  user.x: y\n")
		for _, kv := range limitsOfV2[n].keys {
			key, value, _ := strings.Cut(kv, "=")
			yaml.WriteString("  " + key + ": \"" + value + "\"\n")
		}
		// Edit replaces all keys but the volatile ones, which an edit must bring back.
		for line := range strings.Lines(d.Berth("config", "show", "c1")) {
			if strings.HasPrefix(line, "  volatile.") {
				yaml.WriteString(line)
			}
		}
		yaml.WriteString("devices: {}\nprofiles: [default]\n")
		if out, err := d.TryInput(yaml.String(), harness.Program("berth"), "config", "edit", "c1"); err != nil {
			t.Fatal(out, err)
		}
	}
	set(3)
	d.Berth("start", "c1")
	check("at the start", 3)
	for n := range limitsOfV2 { // each over the one before: nothing of that may stay
		set(n)
		check("live", n)
	}
	d.Berth("stop", "--force", "c1")
	set(8)
	d.Berth("start", "c1")
	check("at another start", 8)
}

func TestStateAndFreezerOnV2Alone(t *testing.T) {
	unified(t)
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1", "-c", "limits.memory=96MiB", "-c", "limits.processes=40")
	state := d.Berth("query", "/1.0/instances/c1/state")
	for _, zero := range []string{`"usage": 0,`, `"usage_peak": 0,`, `"processes": 0`} {
		if strings.Contains(strings.SplitN(state, `"network"`, 2)[0], zero) && !strings.Contains(zero, "swap") {
			t.Errorf("%s in %s", zero, state)
		}
	}
	d.Berth("pause", "c1")
	if got := payload(d, "c1")("cgroup.events"); !strings.Contains(got, "frozen 1") {
		t.Error(got)
	}
	d.Berth("start", "c1")
	if got := payload(d, "c1")("cgroup.events"); !strings.Contains(got, "frozen 0") {
		t.Error(got)
	}
	// More than it may have is refused by the kernel, not by us.
	if got := inside(d, "c1", "for i in $(seq 60); do sleep 100 & done 2>&1; wait"); !strings.Contains(got, "fork") {
		t.Errorf("60 processes of 40: %q", got)
	}
	if got := inside(d, "c1", "cat /proc/self/cgroup"); got != "0::/.lxc" && got != "0::/" {
		t.Errorf("it sees the host's control groups: %q", got)
	}
	if got := inside(d, "c1", "mkdir /sys/fs/cgroup/mine && echo done"); got != "done" {
		t.Errorf("its control groups are not its own: %q", got)
	}
	// A frozen one ends too.
	d.Berth("pause", "c1")
	d.Berth("delete", "--force", "c1")
}
