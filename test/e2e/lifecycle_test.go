// Package e2e tests what a user sees: real daemon, real containers, our client and the stock ones.
package e2e

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

func status(d *harness.Daemon, name string) string {
	d.T.Helper()
	return strings.TrimSpace(d.Berth("list", "^"+name+"$", "--format", "csv", "--columns", "s"))
}

func wantStatus(d *harness.Daemon, name, want string) {
	d.T.Helper()
	if got := status(d, name); got != want {
		d.T.Fatalf("%s is %q, want %q", name, got, want)
	}
}

func TestAContainerLivesFromLaunchToDelete(t *testing.T) {
	d := harness.New(t).Pool().Image()

	d.Berth("launch", "bb", "c1")
	wantStatus(d, "c1", "RUNNING")
	if got := d.Berth("exec", "c1", "--", "hostname"); got != "c1\n" {
		t.Errorf("host name inside is %q", got)
	}
	if got := d.Berth("exec", "c1", "--", "cat", "/proc/self/uid_map"); !strings.Contains(got, "1000000") {
		t.Errorf("a container is not unprivileged by default: uid_map %q", got)
	}

	d.Berth("pause", "c1")
	wantStatus(d, "c1", "FROZEN")
	d.Berth("start", "c1")
	wantStatus(d, "c1", "RUNNING")
	d.Berth("restart", "c1", "--force")
	wantStatus(d, "c1", "RUNNING")
	d.Berth("stop", "c1", "--timeout", "20")
	wantStatus(d, "c1", "STOPPED")

	d.Berth("rename", "c1", "c2")
	d.Berth("start", "c2")
	if got := d.Berth("exec", "c2", "--", "hostname"); got != "c2\n" {
		t.Errorf("host name after a rename is %q", got)
	}
	if msg := d.BerthFails("delete", "c2"); !strings.Contains(msg, "running") {
		t.Errorf("deleting a running container says %q", msg)
	}
	d.Berth("stop", "c2", "--force")
	d.Berth("delete", "c2")
	if got := d.Berth("list", "--format", "csv"); got != "" {
		t.Errorf("something is still listed: %q", got)
	}
	if left := d.HostLeftovers(); len(left) > 2 { // the daemon itself: nsenter became berthd
		t.Errorf("left over on the host: %q", left)
	}
}

func TestAnEphemeralContainerGoesWhenItStops(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "e1", "--ephemeral")
	d.Berth("stop", "e1", "--force")
	harness.Eventually(t, 10*time.Second, "e1 is gone", func() bool {
		return !strings.Contains(d.Berth("list", "--format", "csv", "--columns", "n"), "e1")
	})
	d.Berth("launch", "bb", "e2", "--ephemeral")
	_, _ = d.Try(harness.Program("berth"), "exec", "e2", "--", "poweroff", "-f")
	harness.Eventually(t, 20*time.Second, "e2 is gone after poweroff inside", func() bool {
		return !strings.Contains(d.Berth("list", "--format", "csv", "--columns", "n"), "e2")
	})
}

func TestARunningContainerSurvivesAKilledDaemon(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	pid := func() string {
		var s struct {
			Pid int `json:"pid"`
		}
		if err := json.Unmarshal([]byte(d.Berth("query", "/1.0/instances/c1/state")), &s); err != nil || s.Pid == 0 {
			t.Fatalf("no pid in the state: %v", err)
		}
		return strconv.Itoa(s.Pid) + " " + d.Berth("exec", "c1", "--", "cat", "/proc/sys/kernel/random/boot_id")
	}
	before := pid()
	d.Restart()
	wantStatus(d, "c1", "RUNNING")
	if after := pid(); after != before {
		t.Errorf("it is another container after the restart")
	}
	d.Berth("exec", "c1", "--", "true")

	// It stops while nobody looks.
	d.Kill()
	d.Start()
	d.Berth("stop", "c1", "--force")
	wantStatus(d, "c1", "STOPPED")
	d.Berth("start", "c1")
	wantStatus(d, "c1", "RUNNING")
}

func TestAutostartFollowsTheConfiguration(t *testing.T) {
	d := harness.New(t).Pool().Image()
	for _, name := range []string{"auto", "manual", "never"} {
		d.Berth("init", "bb", name)
	}
	d.Berth("config", "set", "auto", "boot.autostart", "true")
	d.Berth("config", "set", "never", "boot.autostart", "false")
	d.Berth("start", "never")
	d.Berth("stop", "never", "--force")
	d.Restart()
	harness.Eventually(t, 20*time.Second, "auto runs", func() bool { return status(d, "auto") == "RUNNING" })
	wantStatus(d, "manual", "STOPPED")
	wantStatus(d, "never", "STOPPED")
}

func TestLimitsHoldAndChangeLive(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1", "-c", "limits.processes=30", "-c", "limits.memory=64MiB")
	if out, err := d.Try(harness.Program("berth"), "exec", "c1", "--", "sh", "-c",
		"for i in $(seq 60); do sleep 3 & done; wait -n"); err == nil {
		t.Errorf("60 processes under a limit of 30 all started: %s", out)
	}
	d.Berth("config", "set", "c1", "limits.processes", "200")
	d.Berth("exec", "c1", "--", "sh", "-c", "for i in $(seq 40); do sleep 0.1 & done; wait")
	if _, err := d.Try(harness.Program("berth"), "exec", "c1", "--", "sh", "-c",
		"tail -c 200m /dev/zero > /dev/null"); err == nil {
		t.Errorf("200 MB under a limit of 64 MiB went through")
	}
	if msg := d.BerthFails("config", "set", "c1", "limits.memory", "lots"); !strings.Contains(msg, "limits.memory") {
		t.Errorf("a bad value is not named: %q", msg)
	}
	if msg := d.BerthFails("config", "set", "c1", "limits.nothing", "1"); !strings.Contains(msg, "limits.nothing") {
		t.Errorf("an unknown key is not named: %q", msg)
	}
}

func TestSnapshotsCopiesAndMoves(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	d.Berth("exec", "c1", "--", "sh", "-c", "echo one > /root/f")
	d.Berth("snapshot", "c1", "s1")
	d.Berth("exec", "c1", "--", "sh", "-c", "echo two > /root/f")
	d.Berth("snapshot", "c1", "s2")
	d.Berth("stop", "c1", "--force")
	d.Berth("restore", "c1", "s1")
	d.Berth("start", "c1")
	if got := d.Berth("exec", "c1", "--", "cat", "/root/f"); got != "one\n" {
		t.Errorf("after the restore f holds %q", got)
	}
	d.Berth("copy", "c1/s2", "c2")
	d.Berth("start", "c2")
	if got := d.Berth("exec", "c2", "--", "cat", "/root/f"); got != "two\n" {
		t.Errorf("in the copy of s2, f holds %q", got)
	}
	d.Berth("move", "c1/s2", "c1/s3")
	d.Berth("delete", "c1/s1")
	if got := d.Berth("info", "c1"); !strings.Contains(got, "s3") || strings.Contains(got, "s1") {
		t.Errorf("info shows other snapshots: %s", got)
	}
	d.Berth("stop", "c1", "--force")
	d.Berth("copy", "c1", "c3")
	d.Berth("move", "c3", "c4")
	if got := d.Berth("info", "c4"); !strings.Contains(got, "s3") {
		t.Errorf("a copy lost its snapshots: %s", got)
	}
}

func TestProfilesAreAppliedInOrder(t *testing.T) {
	d := harness.New(t).Pool().Image()
	for _, p := range []string{"a", "b"} {
		d.Berth("profile", "create", p)
		d.Berth("profile", "set", p, "user.who", p)
	}
	d.Berth("init", "bb", "c1", "-p", "default", "-p", "a", "-p", "b")
	if got := d.Berth("config", "show", "c1", "--expanded"); !strings.Contains(got, "user.who: b") {
		t.Errorf("the last profile does not win: %s", got)
	}
	d.Berth("config", "set", "c1", "user.who", "me")
	if got := d.Berth("config", "show", "c1", "--expanded"); !strings.Contains(got, "user.who: me") {
		t.Errorf("the instance's own key does not win: %s", got)
	}
	d.Berth("profile", "set", "a", "environment.FROM", "a")
	d.Berth("start", "c1")
	if got := d.Berth("exec", "c1", "--", "sh", "-c", "echo $FROM"); got != "a\n" {
		t.Errorf("environment from a profile is %q", got)
	}
	if msg := d.BerthFails("profile", "delete", "a"); !strings.Contains(msg, "in use") {
		t.Errorf("deleting a used profile says %q", msg)
	}
}
