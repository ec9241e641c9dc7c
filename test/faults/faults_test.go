// Package faults ends the daemon with SIGKILL, and fills its disk, at every instant that the daemon names as one
// (`berthd debug faults`), and checks that nothing is lost, half-made or left over.
package faults

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/test/harness"
)

// points asks the program itself for the instants it knows.
func points(t *testing.T) []string {
	t.Helper()
	return strings.Fields(harness.Run(t, nil, harness.Program("berthd"), "debug", "faults"))
}

// TestEveryPointHasAScenario keeps a new fault point from going untested.
func TestEveryPointHasAScenario(t *testing.T) {
	for _, p := range points(t) {
		if scenarioOf(p) == nil {
			t.Errorf("fault point %s belongs to no scenario", p)
		}
	}
}

var counts struct{ points, kills, full, checks int }

func TestMain(m *testing.M) {
	status := m.Run()
	fmt.Printf("fault matrix: %d points, %d kills, %d full disks, %d invariants checked\n",
		counts.points, counts.kills, counts.full, counts.checks)
	os.Exit(status)
}

func TestAKillAtAnyInstantLosesNothing(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.prefix, func(t *testing.T) {
			d := prepare(t)
			for _, p := range points(t) {
				if scenarioOf(p) == s {
					counts.points++
					kill(d, s, p)
				}
			}
		})
	}
}

func TestAFullDiskAtAnyInstantLosesNothing(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.prefix, func(t *testing.T) {
			d := prepare(t)
			for _, p := range points(t) {
				if scenarioOf(p) == s {
					full(d, s, p)
				}
			}
		})
	}
}

// prepare gives a daemon that holds what every scenario starts from.
func prepare(t *testing.T) *harness.Daemon {
	return harness.New(t).Pool().Image()
}

// kill runs one scenario with the daemon ending at the point.
func kill(d *harness.Daemon, s *scenario, point string) {
	t := d.T
	t.Helper()
	s.before(d)
	d.Restart(fault.Env + "=" + point + "=kill")
	for _, args := range s.act {
		if _, err := d.Try(harness.Program("berth"), args...); err != nil {
			break
		}
	}
	harness.Eventually(t, 20*time.Second, "the daemon ends at "+point, d.Ended)
	counts.kills++
	d.Start()
	settle(d, s, point)
}

// full runs one scenario with the disk full at the point: the daemon must live and undo by itself.
func full(d *harness.Daemon, s *scenario, point string) {
	t := d.T
	t.Helper()
	s.before(d)
	d.Restart(fault.Env + "=" + point + "=enospc")
	failed := false
	for _, args := range s.act {
		if _, err := d.Try(harness.Program("berth"), args...); err != nil {
			failed = true
			break
		}
	}
	if d.Ended() {
		t.Fatalf("%s: the daemon does not survive a full disk\n%s", point, d.Log())
	}
	if !failed && !s.mayFinish {
		t.Errorf("%s: the disk was full and nothing failed", point)
	}
	counts.full++
	d.Restart()
	settle(d, s, point)
}

// settle checks that the object is whole or gone, that the same calls then succeed, and that nothing is left over.
func settle(d *harness.Daemon, s *scenario, point string) {
	t := d.T
	t.Helper()
	s.check(d, point)
	counts.checks++
	for _, args := range s.act {
		if s.done(d, args) {
			continue
		}
		if out, err := d.Try(harness.Program("berth"), args...); err != nil {
			t.Errorf("%s: afterwards, berth %s: %v %s\n%s", point, strings.Join(args, " "), err, out, d.Log())
		}
		counts.checks++
	}
	s.after(d)
	for _, left := range leftovers(d) {
		t.Errorf("%s: left over: %s", point, left)
		counts.checks++
	}
	d.Kill()
	for _, left := range d.Journal() {
		t.Errorf("%s: %s", point, left)
	}
	counts.checks += 2
	d.Start()
}

// leftovers lists what must not be there while nothing runs but the daemon.
func leftovers(d *harness.Daemon) []string {
	var left []string
	for _, l := range d.HostLeftovers() {
		if !strings.HasPrefix(l, fmt.Sprintf("process %d ", d.PID())) {
			left = append(left, l)
		}
	}
	for dir, keep := range map[string]int{
		"containers": 0, "snapshots": 0, "devices": 0, "security/seccomp": 0,
		"storage-pools/default/containers": 0, "storage-pools/default/containers-snapshots": 0, "networks": 0,
	} {
		entries, _ := os.ReadDir(d.Dir + "/" + dir)
		if len(entries) > keep {
			left = append(left, fmt.Sprintf("%s holds %v", dir, entries))
		}
	}
	entries, _ := os.ReadDir(d.Dir + "/images")
	if len(entries) > 1 {
		left = append(left, fmt.Sprintf("images holds %v", entries))
	}
	entries, _ = os.ReadDir(d.Dir + "/storage-pools")
	if len(entries) > 1 {
		left = append(left, fmt.Sprintf("storage-pools holds %v", entries))
	}
	return left
}
