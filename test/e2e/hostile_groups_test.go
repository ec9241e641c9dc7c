package e2e

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

// groups mounts the guest's own control groups on /tmp/g, those with the freezer in them, and sets $file and $frozen to what freezes one.
const groups = `mkdir -p /tmp/g && if mount -t cgroup -o freezer none /tmp/g 2>/dev/null; then file=freezer.state frozen=FROZEN
else mount -t cgroup2 none /tmp/g && file=cgroup.freeze frozen=1; fi || exit 1
`

// inTime runs a program of ours and fails the test if it takes longer.
func inTime(t *testing.T, d *harness.Daemon, limit time.Duration, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Slow(limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Program("berth"), args...)
	cmd.Env = d.Environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("berth %s: %v, %v\n%s", strings.Join(args, " "), err, ctx.Err(), out)
	}
}

// freeze has the guest freeze a process in a group below a group of its own.
func freeze(d *harness.Daemon, name string) {
	d.Berth("exec", name, "--", "sh", "-c", groups+`mkdir -p /tmp/g/a/b || exit 1
sleep 100000 >/dev/null 2>&1 </dev/null & pid=$!
until [ "$(cat /proc/$pid/comm)" = sleep ]; do :; done # before it would still hold this command's output
echo $pid >/tmp/g/a/b/cgroup.procs && echo $frozen >/tmp/g/a/b/$file && echo $frozen >/tmp/g/a/$file`)
}

// TestForcedStopOfAFrozenSubgroup: a process that the guest had frozen in a group of its own did not die, the forced stop never came to its end, and
// a daemon that started then answered nobody.
func TestForcedStopOfAFrozenSubgroup(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	freeze(d, "c1")
	inTime(t, d, 30*time.Second, "stop", "--force", "c1")
	inTime(t, d, 30*time.Second, "start", "c1")

	freeze(d, "c1")
	d.Kill()
	d.Start("BERTH_FAULT=instance.stop.begun=kill")
	if _, err := d.Try(harness.Program("berth"), "stop", "--force", "c1"); err == nil {
		t.Error("the daemon was to be killed")
	}
	d.WaitEnd(10 * time.Second)
	d.Start()
	inTime(t, d, 30*time.Second, "start", "c1")
	inTime(t, d, 30*time.Second, "delete", "--force", "c1")
}

// TestDeepControlGroups: a guest that nested control groups until no path could name them was never cleaned up after: it did not start again,
// and no other one of its name did.
func TestDeepControlGroups(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	// As long as the guest's shell can name, and longer than the host can, to which there is more in front.
	d.Berth("exec", "c1", "--", "sh", "-c", groups+`long=`+strings.Repeat("n", 199)+` short=`+strings.Repeat("s", 80)+`
cd /tmp/g && for name in`+strings.Repeat(" $long", 20)+` $short; do mkdir $name && cd $name || exit 1; done || exit 1
sleep 100000 >/dev/null 2>&1 </dev/null &
echo $! > cgroup.procs`)
	inTime(t, d, 30*time.Second, "stop", "--force", "c1")
	inTime(t, d, 30*time.Second, "start", "c1")
	inTime(t, d, 30*time.Second, "delete", "--force", "c1")
	inTime(t, d, 30*time.Second, "launch", "bb", "c1")
	inTime(t, d, 30*time.Second, "delete", "--force", "c1")
}
