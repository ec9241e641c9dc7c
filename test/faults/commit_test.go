package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// swept are the points that every change passes several times, once for each commit of the store: every scenario is run with every
// single one of its commits failing, and with the daemon ending after every single one.
var swept = []string{"store.commit.begun", "store.commit.written"}

// maxCommits bounds the commits of one change, those of the daemon's start included.
const maxCommits = 40

const lanes = 2 // daemons side by side

func TestTroubleWithAnyCommitLosesNothing(t *testing.T) {
	for lane := range lanes {
		t.Run(fmt.Sprint("lane ", lane), func(t *testing.T) {
			t.Parallel()
			sweep(t, func(i int) bool { return i%lanes == lane })
		})
	}
}

// sweep ends the daemon after the first commit of a scenario, then after its second, until it comes through; then it lets as many
// commits fail, one at a time.
func sweep(t *testing.T, mine func(i int) bool) {
	var b *bench
	starting := 0
	for i, s := range scenarios {
		if !mine(i) {
			continue
		}
		ok := t.Run(s.name, func(sub *testing.T) {
			if b == nil {
				b = newBench(t)
			}
			b.d.T = sub
			defer func() { b.d.T = t }()
			first := starting + 1 // what a start commits of its own is tried with the first scenario
			b.starting = starting
			n := first
			for b.killAfterCommit(s, n) {
				if n++; n == maxCommits {
					sub.Fatalf("%d commits and no end", n)
				}
			}
			for k := first; k < n; k++ {
				b.failCommit(s, k)
			}
			sub.Logf("%d commits", n-first)
			counts.commits.Add(int64(n - first))
			if i < lanes {
				starting = b.starting
			}
		})
		if !ok {
			b = nil
		}
	}
}

func (b *bench) killAfterCommit(s *scenario, n int) bool {
	d := b.d
	d.T.Helper()
	point := fmt.Sprintf("commit %d", n)
	b.must(s.setup)
	d.Kill()
	hit := !b.survivesStart(point, fmt.Sprintf("store.commit.written=kill@%d", n), s.env...)
	if hit {
		b.starting++
	} else {
		err := b.act(s)
		hit = b.endsWithin(err)
	}
	if !hit {
		d.Kill()
	} else {
		counts.kills.Add(1)
	}
	d.Start()
	b.quiet(point)
	b.settle(s, point)
	return hit
}

// endsWithin waits a moment for the daemon's end, which a client may see before its parent does: longer after an error.
func (b *bench) endsWithin(err error) bool {
	limit := 50 * time.Millisecond
	if err != nil {
		limit = 2 * time.Second
	}
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if b.d.Ended() {
			return true
		}
	}
	return b.d.Ended()
}

func (b *bench) failCommit(s *scenario, n int) {
	d := b.d
	d.T.Helper()
	point := fmt.Sprintf("commit %d", n)
	b.must(s.setup)
	d.Kill()
	if !b.survivesStart(point, fmt.Sprintf("store.commit.begun=enospc@%d", n), s.env...) {
		d.T.Fatalf("%s: the daemon does not start with a full disk\n%s", point, d.Log())
	}
	err := b.act(s)
	if d.Ended() {
		d.T.Fatalf("%s: the daemon does not survive a full disk\n%s", point, d.Log())
	}
	if err != nil && !strings.Contains(err.Error(), "no space left on device") {
		d.T.Errorf("%s: a full disk is told as %v", point, err)
	}
	counts.full.Add(1)
	b.late(s, point)
	b.settle(s, point)
}
