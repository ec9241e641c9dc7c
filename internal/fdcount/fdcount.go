// Package fdcount has tests find descriptors that a program forgets to close.
package fdcount

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"
)

// Runs is how often what is tested is done: what it leaves each time stands out from what others open meanwhile.
const Runs = 50

// wait is how long descriptors that are on their way to be closed may take.
const wait = 2 * time.Second

// Steady does something once, for what it keeps open from then on, and then Runs times, and fails the test if this process has more
// descriptors after those. The garbage collector, which closes the files it finds, rests meanwhile.
func Steady(t testing.TB, do func()) {
	t.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	SteadyOf(t, []int{os.Getpid()}, do)
}

// SteadyOf is Steady for other processes, which should be run with GOGC=off if they are in Go.
func SteadyOf(t testing.TB, pids []int, do func()) {
	t.Helper()
	do()
	before := openAll(t, pids)
	for range Runs {
		do()
		if t.Failed() {
			return
		}
	}
	// What is done may be closed on its way out: as many as there are runs are not.
	deadline := time.Now().Add(wait)
	for n, pid := range pids {
		after := open(t, pid)
		for len(after) >= len(before[n])+Runs/2 && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond) // lint:allow no-wait-by-sleep: nothing tells when another goroutine or process closes its own
			after = open(t, pid)
		}
		if len(after) >= len(before[n])+Runs/2 {
			t.Errorf("%d descriptors are left open by %d runs: %s", len(after)-len(before[n]), Runs, most(before[n], after))
		}
	}
}

func openAll(t testing.TB, pids []int) (all [][]string) {
	t.Helper()
	for _, pid := range pids {
		all = append(all, open(t, pid))
	}
	return all
}

// open lists what the descriptors of a process are of.
func open(t testing.TB, pid int) (names []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// most names what most of the new ones are of.
func most(before, after []string) (name string) {
	more := map[string]int{}
	for _, n := range after {
		more[n]++
	}
	for _, n := range before {
		more[n]--
	}
	for n, count := range more {
		if name == "" || count > more[name] {
			name = n
		}
	}
	return fmt.Sprintf("%d of %s", more[name], name)
}
