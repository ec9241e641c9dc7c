package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/test/harness"
)

// needAppArmor skips where the kernel does not confine. `make lab` runs these tests where it does.
func needAppArmor(t *testing.T) {
	t.Helper()
	if state, why := apparmor.New("/").State(); state != apparmor.On {
		t.Skip("needs a kernel with AppArmor, such as the lab's: " + why)
	}
}

// labelOf is what the first process of an instance is confined as.
func labelOf(d *harness.Daemon, name string) string {
	d.T.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/attr/current", initPID(d, name)))
	if err != nil {
		d.T.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// inside runs a script in an instance and returns what it says last.
func inside(d *harness.Daemon, name, script string) string {
	d.T.Helper()
	out, _ := d.Try(harness.Program("berth"), "exec", name, "--", "sh", "-c", script)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1]
}

func TestEveryContainerHasAProfileOfItsOwn(t *testing.T) {
	needAppArmor(t)
	d := harness.New(t).Pool().Image()
	h := apparmor.New(d.Dir)
	if got := d.Berth("warning", "list", "--format", "csv"); strings.Contains(got, "AppArmor") {
		t.Errorf("a warning where there is nothing to warn of: %s", got)
	}
	d.Berth("launch", "bb", "c1")
	d.Berth("launch", "bb", "p1", "-c", "security.privileged=true")
	name := h.Name(apparmor.Instance, "c1")
	if got, want := labelOf(d, "c1"), name+"//&:"+name+":unconfined (enforce)"; got != want {
		t.Errorf("c1 is %q, want %q", got, want)
	}
	want := h.Name(apparmor.Instance, "p1") + " (enforce)"
	if got := labelOf(d, "p1"); got != want {
		t.Errorf("p1 is %q, want %q", got, want)
	}
	if got := inside(d, "p1", "cat /proc/self/attr/current"); got != want {
		t.Errorf("what exec starts is %q, want %q", got, want)
	}
	// A daemon that is killed takes nothing with it, and the next one knows what runs.
	d.Kill()
	d.Start()
	if got := labelOf(d, "p1"); got != want {
		t.Errorf("after a restart of the daemon p1 is %q", got)
	}
	d.Berth("stop", "--force", "c1", "p1")
	if names, err := h.Loaded(); err != nil || strings.Contains(strings.Join(names, " "), h.Name(apparmor.Instance, "")) {
		t.Errorf("profiles of stopped instances: %q %v", names, err)
	}
	d.Berth("rename", "c1", "c2")
	d.Berth("delete", "p1", "c2")
	if left, _ := filepath.Glob(filepath.Join(d.Dir, "security/apparmor/*", h.Name(apparmor.Instance, "*"))); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

func TestAPrivilegedContainerLeavesTheHostAlone(t *testing.T) {
	needAppArmor(t)
	d := harness.New(t).Pool().Image()
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	shared := t.TempDir()
	d.Berth("init", "bb", "p1", "-c", "security.privileged=true")
	d.Berth("config", "device", "add", "p1", "d", "disk", "source="+shared, "path=/mnt", "readonly=true")
	d.Berth("start", "p1")
	for _, attempt := range []string{
		"mount -o remount,rw /proc/sys", "mount -o remount,bind,rw /mnt", "mount -o remount,rw /sys", "touch /mnt/file",
		"umount -l /proc/sys; echo '|/tmp/evil' > /proc/sys/kernel/core_pattern", "umount -l /sys; echo 1 > /sys/kernel/profiling",
		"mount -t proc p /tmp", "mount -t sysfs s /tmp", "mount -t debugfs d /tmp", "mount -o bind /proc /tmp",
	} {
		if got := inside(d, "p1", "("+attempt+") 2>/dev/null && echo done || echo refused"); got != "refused" {
			t.Errorf("%s: %s", attempt, got)
		}
	}
	if now, _ := os.ReadFile("/proc/sys/kernel/core_pattern"); string(now) != string(pattern) {
		t.Errorf("core_pattern of the host is %q", now)
	}
	if entries, err := os.ReadDir(shared); err != nil || len(entries) != 0 {
		t.Errorf("in the read-only folder: %v %v", entries, err)
	}
}

func TestRawAppArmorIsCheckedAndTakesEffectAtOnce(t *testing.T) {
	needAppArmor(t)
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	for _, bad := range []string{"nonsense", "}\nprofile evil {", "#include <tunables/global>"} {
		if msg := d.BerthFails("config", "set", "c1", "raw.apparmor", bad); !strings.Contains(msg, "raw.apparmor") {
			t.Errorf("%q: %s", bad, msg)
		}
	}
	const write = "(echo y > /root/x) 2>/dev/null && echo done || echo refused" // touch sets the times of a file that is there, which AppArmor does not look at
	if got := inside(d, "c1", write); got != "done" {
		t.Fatal(got)
	}
	d.Berth("config", "set", "c1", "raw.apparmor", "deny /root/** w,")
	if got := inside(d, "c1", write); got != "refused" {
		t.Errorf("with a rule against it: %s", got)
	}
	d.Berth("config", "unset", "c1", "raw.apparmor")
	if got := inside(d, "c1", write); got != "done" {
		t.Errorf("without the rule again: %s", got)
	}
}

func TestWithoutAppArmorThereIsAWarning(t *testing.T) {
	if state, _ := apparmor.New("/").State(); state != apparmor.Off {
		t.Skip("needs a kernel without AppArmor")
	}
	d := harness.New(t)
	harness.Eventually(t, 10*time.Second, "the warning is there", func() bool {
		return strings.Contains(d.Berth("warning", "list", "--format", "csv"), "AppArmor support has been disabled")
	})
}
