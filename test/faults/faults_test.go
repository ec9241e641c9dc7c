// Package faults ends the daemon with SIGKILL, and fills its disk, at every instant that the daemon names as one
// (`berthd debug faults`), and checks that nothing is lost, half-made or left over.
package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/test/harness"
)

// points asks the program itself for the instants it knows.
func points(t testing.TB) []string {
	t.Helper()
	return strings.Fields(harness.Run(t, nil, harness.Program("berthd"), "debug", "faults"))
}

var counts struct{ points, kills, recoveries, full, checks, storms, commits atomic.Int64 }

func TestMain(m *testing.M) {
	status := m.Run()
	fmt.Printf("fault matrix: %d points, %d kills and %d during the recovery from one, %d full disks, each of %d commits, %d rounds of storm, %d invariants checked\n",
		counts.points.Load(), counts.kills.Load(), counts.recoveries.Load(), counts.full.Load(), counts.commits.Load(), counts.storms.Load(), counts.checks.Load())
	os.Exit(status)
}

// TestEveryPointHasAScenario keeps a new fault point from going untested.
func TestEveryPointHasAScenario(t *testing.T) {
	all := points(t)
	for _, p := range all {
		if !slices.Contains(swept, p) && !slices.ContainsFunc(scenarios, func(s *scenario) bool { return s.passes(p) }) {
			t.Errorf("fault point %s belongs to no scenario", p)
		}
	}
	for _, s := range scenarios {
		if len(s.of(all)) == 0 {
			t.Errorf("scenario %q has no point any more", s.name)
		}
	}
	counts.points.Store(int64(len(all)))
}

func TestAKillAtAnyInstantLosesNothing(t *testing.T) {
	t.Parallel()
	matrix(t, (*bench).kill)
}

func TestAFullDiskAtAnyInstantLosesNothing(t *testing.T) {
	t.Parallel()
	matrix(t, (*bench).full)
}

// matrix runs every scenario at every point of it. The scenarios share a daemon until one fails.
func matrix(t *testing.T, run func(b *bench, s *scenario, point string)) {
	all := points(t)
	var b *bench
	for _, s := range scenarios {
		ok := t.Run(s.name, func(sub *testing.T) {
			if b == nil {
				b = newBench(t)
			}
			b.d.T = sub
			defer func() { b.d.T = t }()
			for _, p := range s.of(all) {
				run(b, s, p)
			}
		})
		if !ok {
			b = nil
		}
	}
}

// bench is a daemon with what every scenario starts from, and its state then.
type bench struct {
	d      *harness.Daemon
	words  *strings.Replacer
	before []string
	paused []string                     // instances that users may have paused
	images map[string]map[string]string // the files of each, as its prepared copy has them

	starting int // commits seen of the daemon's start
}

func newBench(t *testing.T) *bench {
	d := harness.New(t).Pool().Image()
	top := filepath.Dir(d.Dir)
	for _, dir := range []string{"src", "pool"} {
		if err := os.Mkdir(filepath.Join(top, dir), 0o711); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench{d: d, words: strings.NewReplacer("$TINY", tiny(t, top), "$SRC", top+"/src", "$POOL", top+"/pool")}
	// One life of an instance makes what stays from then on, such as the pool's copy of the image and the runtime's place for
	// new mounts.
	b.must(calls("launch bb c0", "config device add c0 data disk source=$SRC path=/mnt", "delete -f c0"))
	b.before = state(d)
	return b
}

func (b *bench) try(args []string) (string, error) {
	args = slices.Clone(args)
	for i := range args {
		args[i] = b.words.Replace(args[i])
	}
	return b.d.Try(harness.Program("berth"), args...)
}

func (b *bench) must(calls [][]string) {
	b.d.T.Helper()
	for _, args := range calls {
		if out, err := b.try(args); err != nil {
			b.d.T.Fatalf("berth %s: %v %s\n%s", strings.Join(args, " "), err, out, b.d.Log())
		}
	}
}

// act makes the calls of a scenario until one fails.
func (b *bench) act(s *scenario) error {
	for _, args := range s.act {
		if _, err := b.try(args); err != nil {
			return fmt.Errorf("berth %s: %w", strings.Join(args, " "), err)
		}
	}
	return nil
}

// kill runs one scenario with the daemon ending at the point.
func (b *bench) kill(s *scenario, point string) {
	d := b.d
	d.T.Helper()
	b.must(s.setup)
	d.Restart(append(s.env, fault.Env+"="+point+"=kill")...)
	b.quiet(point)
	_ = b.act(s) // the daemon's end may look like any error, or, after an answer, like none
	harness.Eventually(d.T, 20*time.Second, "the daemon ends at "+point, d.Ended)
	counts.kills.Add(1)
	b.killRecovery(point)
	d.Start()
	b.quiet(point)
	b.settle(s, point)
}

// killRecovery starts the daemon with every point armed: what clears up after a kill can be killed too.
func (b *bench) killRecovery(point string) {
	armed := slices.DeleteFunc(points(b.d.T), func(p string) bool { return slices.Contains(swept, p) })
	if !b.survivesStart(point, strings.Join(armed, "=kill,")+"=kill") {
		counts.recoveries.Add(1)
		return
	}
	b.d.Kill()
}

// survivesStart starts the daemon with points armed and tells whether it gets ready.
func (b *bench) survivesStart(point, armed string, env ...string) (ready bool) {
	d := b.d
	d.T.Helper()
	d.Launch(append(env, fault.Env+"="+armed)...)
	harness.Eventually(d.T, 30*time.Second, point+": the daemon starts again or ends", func() bool {
		if d.Ended() {
			return true
		}
		_, err := d.Try(harness.Program("berthd"), "waitready", "--timeout=1")
		ready = err == nil
		return ready
	})
	return ready && !d.Ended()
}

// full runs one scenario with the disk full at the point, once: the daemon must live, say so, undo by itself, and then do it.
func (b *bench) full(s *scenario, point string) {
	d := b.d
	d.T.Helper()
	b.must(s.setup)
	d.Restart(append(s.env, fault.Env+"="+point+"=enospc@1")...)
	b.quiet(point)
	err := b.act(s)
	if d.Ended() {
		d.T.Fatalf("%s: the daemon does not survive a full disk\n%s", point, d.Log())
	}
	switch {
	case err == nil && !s.mayFinish:
		d.T.Errorf("%s: the disk was full and nothing failed", point)
	case err != nil && !strings.Contains(err.Error(), "no space left on device"):
		d.T.Errorf("%s: a full disk is told as %v", point, err)
	}
	counts.full.Add(1)
	b.late(s, point)
	b.settle(s, point)
}

// late gives a change that takes something away what it needs to be whole: another attempt, and a start.
func (b *bench) late(s *scenario, point string) {
	d := b.d
	d.T.Helper()
	if !s.late {
		return
	}
	if !s.done(d) {
		if err := b.act(s); err != nil {
			d.T.Errorf("%s: another attempt: %v\n%s", point, err, d.Log())
		}
	}
	d.Restart()
	b.quiet(point)
}

// quiet waits until the instances that start by themselves have started: until records and runtime agree.
func (b *bench) quiet(point string) {
	d := b.d
	d.T.Helper()
	disagree := ""
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		disagree = ""
		for _, i := range instances(d) {
			runs := i.Status == "Running" || i.Status == "Frozen" && slices.Contains(b.paused, i.Name)
			if power := i.Config["volatile.last_state.power"]; (power == "RUNNING") != runs {
				disagree += fmt.Sprintf(" %s is %s and recorded as %s;", i.Name, i.Status, power)
			}
		}
		if disagree == "" {
			break
		}
		if time.Now().After(end) {
			d.T.Fatalf("%s: records and runtime do not agree:%s\n%s", point, disagree, d.Log())
		}
	}
	counts.checks.Add(1)
}

// settle checks that the object is whole or gone, that the same calls then succeed, and that nothing is left over.
func (b *bench) settle(s *scenario, point string) {
	d := b.d
	d.T.Helper()
	if s.half(d) {
		d.T.Errorf("%s: the change has happened by half: there %v, gone %v\n%s", point, s.there, s.gone, d.Log())
	}
	b.whole(point)
	if s.holds != nil && !s.holds(d) {
		d.T.Errorf("%s: what has to hold does not\n%s", point, d.Log())
	}
	if !s.done(d) {
		if err := b.act(s); err != nil {
			d.T.Fatalf("%s: afterwards, %v\n%s", point, err, d.Log())
		}
		if !s.again && !s.done(d) {
			d.T.Errorf("%s: afterwards, the calls succeed and nothing has changed", point)
		}
	}
	b.whole(point)
	b.must(s.teardown)
	b.clean(point)
	counts.checks.Add(4)
}

// whole checks that whatever is listed can be used.
func (b *bench) whole(point string) {
	d := b.d
	d.T.Helper()
	for _, i := range instances(d) {
		if _, err := os.Stat(filepath.Join(d.Dir, "containers", i.Name, "rootfs")); err != nil {
			d.T.Errorf("%s: instance %s has no root file system: %v", point, i.Name, err)
		}
		b.content(point, i, filepath.Join("containers", i.Name))
		if !get(d, "instances/"+i.Name+"/state", nil) {
			d.T.Errorf("%s: instance %s has no state", point, i.Name)
		}
		b.agrees(point, i)
		var snapshots []struct{ Name string }
		get(d, "instances/"+i.Name+"/snapshots?recursion=1", &snapshots)
		for _, snap := range snapshots {
			if _, err := os.Stat(filepath.Join(d.Dir, "snapshots", i.Name, snap.Name, "rootfs")); err != nil {
				d.T.Errorf("%s: snapshot %s of %s has no root file system: %v", point, snap.Name, i.Name, err)
			}
			b.content(point, i, filepath.Join("snapshots", i.Name, snap.Name))
		}
		counts.checks.Add(int64(2 + len(snapshots)))
	}
	var images []struct{ Fingerprint string }
	get(d, "images?recursion=1", &images)
	for _, i := range images {
		if got := hashOf(d.Dir+"/images/"+i.Fingerprint, d.Dir+"/images/"+i.Fingerprint+".rootfs"); got != i.Fingerprint {
			d.T.Errorf("%s: the files of image %s hash to %s", point, i.Fingerprint, got)
		}
	}
	counts.checks.Add(int64(len(images)))
}

// clean checks that the daemon is in the state that it was in at first, with no change under way.
func (b *bench) clean(point string) {
	d := b.d
	d.T.Helper()
	var left []string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if left = differences(b.before, state(d)); len(left) == 0 {
			break
		}
	}
	for _, l := range left {
		d.T.Errorf("%s: %s", point, l)
	}
	d.Kill()
	for _, l := range d.Journal() {
		d.T.Errorf("%s: %s", point, l)
	}
	d.Start()
	counts.checks.Add(2)
	if d.T.(*testing.T).Failed() {
		d.T.FailNow() // what is left would be blamed on the next point
	}
}
