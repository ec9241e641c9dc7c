package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/fdcount"
	"github.com/berthd/berth/test/harness"
)

// TestTheDaemonGivesDescriptorsBack has clients do what they do all day, fifty times, and counts what is open in the daemon and in the
// helper before and after. The daemon's collector, which closes files that it finds, is off.
func TestTheDaemonGivesDescriptorsBack(t *testing.T) {
	d := harness.New(t, "GOGC=off").Pool().Image()
	d.Berth("launch", "bb", "c1")
	d.Berth("exec", "c1", "--", "true") // by now there is a helper
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	day := func() {
		d.Berth("exec", "c1", "--", "true")
		d.Berth("file", "push", file, "c1/tmp/f")
		d.Berth("file", "pull", "c1/tmp/f", file)
		d.BerthFails("file", "pull", "c1/tmp/none", file)
		d.Berth("config", "set", "c1", "limits.processes=100")
		d.Berth("snapshot", "c1", "s1")
		d.Berth("delete", "c1/s1")
		d.Berth("list")
		d.Berth("stop", "-f", "c1")
		d.Berth("start", "c1")
	}
	pids := append([]int{d.PID()}, childrenOf(d.PID(), "berth-lxc")...)
	if len(pids) != 2 {
		t.Fatalf("the daemon and its helper: %v", pids)
	}
	fdcount.SteadyOf(t, pids, day)
}

// childrenOf lists the children of a process that run a program.
func childrenOf(pid int, program string) (children []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		raw, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(raw)) {
			name, _ := os.ReadFile(filepath.Join("/proc", field, "comm"))
			if child, err := strconv.Atoi(field); err == nil && string(name) == program+"\n" {
				children = append(children, child)
			}
		}
	}
	return children
}
