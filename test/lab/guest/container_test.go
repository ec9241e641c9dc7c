package guest

import (
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

// TestContainersOnCgroup2 is one daemon and one container for all its parts, as processes are what is dear in the guest.
func TestContainersOnCgroup2(t *testing.T) {
	inLab(t)
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	part := func(name string, f func(t *testing.T, d *harness.Daemon)) {
		t.Run(name, func(t *testing.T) {
			scope := *d
			scope.T = t
			f(t, &scope)
		})
	}
	part("exec", func(t *testing.T, d *harness.Daemon) {
		if got := d.Berth("exec", "c1", "--", "hostname"); got != "c1\n" {
			t.Errorf("the host name inside is %q", got)
		}
	})
	part("memory", memoryIsHeld)
	part("processes", processesAreHeld)
	part("cpu", cpusAreHeld)
	part("pause", aPauseFreezesTheGroup)
	part("snapshot", aSnapshotComesBack)
	part("usage", usageIsRead)
	part("delete", nothingIsLeft)
}

// set changes a key of the running container and checks what its group's file says then.
func set(t *testing.T, d *harness.Daemon, key, value, file, want string) {
	t.Helper()
	d.Berth("config", "set", "c1", key, value)
	wantFile(t, d, key+"="+value, file, want)
}

func wantFile(t *testing.T, d *harness.Daemon, what, file, want string) {
	t.Helper()
	if got := read(t, group(t, d, "c1")+"/"+file); got != want {
		t.Errorf("%s: %s is %q, want %q", what, file, got, want)
	}
}

// allocate lets a process in the container touch that many bytes, as dd takes them, at once.
func allocate(d *harness.Daemon, size string) (string, error) {
	return d.Try(harness.Program("berth"), "exec", "c1", "--", "dd", "if=/dev/zero", "of=/dev/null", "count=1", "bs="+size)
}

func memoryIsHeld(t *testing.T, d *harness.Daemon) {
	wantFile(t, d, "without limits.memory", "memory.max", "max")
	set(t, d, "limits.memory", "48MiB", "memory.max", "50331648")
	kills := counter(t, group(t, d, "c1")+"/memory.events", "oom_kill")
	if out, err := allocate(d, "96M"); err == nil {
		t.Errorf("96 MiB under a limit of 48 MiB went through: %s", out)
	}
	if now := counter(t, group(t, d, "c1")+"/memory.events", "oom_kill"); now <= kills {
		t.Errorf("the kernel has killed nothing for its memory: %d, before %d", now, kills)
	}
	set(t, d, "limits.memory", "256MiB", "memory.max", "268435456")
	if out, err := allocate(d, "96M"); err != nil {
		t.Errorf("96 MiB under a limit of 256 MiB: %v %s", err, out)
	}
	d.Berth("config", "set", "c1", "limits.memory.enforce", "soft")
	wantFile(t, d, "a soft limit", "memory.high", "268435456")
	wantFile(t, d, "a soft limit", "memory.max", "max")
	d.Berth("config", "unset", "c1", "limits.memory")
	d.Berth("config", "unset", "c1", "limits.memory.enforce")
	wantFile(t, d, "limits.memory unset", "memory.high", "max")
	wantFile(t, d, "limits.memory unset", "memory.max", "max")
}

func processesAreHeld(t *testing.T, d *harness.Daemon) {
	set(t, d, "limits.processes", "20", "pids.max", "20")
	const many = "for i in $(seq 30); do sleep 5 & done; wait -n"
	refused := counter(t, group(t, d, "c1")+"/pids.events", "max")
	if out, err := d.Try(harness.Program("berth"), "exec", "c1", "--", "sh", "-c", many); err == nil {
		t.Errorf("30 processes under a limit of 20 all started: %s", out)
	}
	if now := counter(t, group(t, d, "c1")+"/pids.events", "max"); now <= refused {
		t.Errorf("the kernel has refused no fork: %d, before %d", now, refused)
	}
	d.Berth("config", "unset", "c1", "limits.processes")
	wantFile(t, d, "limits.processes unset", "pids.max", "max")
}

func cpusAreHeld(t *testing.T, d *harness.Daemon) {
	all := read(t, "/sys/fs/cgroup/cpuset.cpus.effective")
	set(t, d, "limits.cpu", "1-1", "cpuset.cpus", "1")
	if got := d.Berth("exec", "c1", "--", "nproc"); got != "1\n" {
		t.Errorf("with one CPU nproc says %q", got)
	}
	d.Berth("config", "unset", "c1", "limits.cpu")
	wantFile(t, d, "limits.cpu unset", "cpuset.cpus.effective", all)

	set(t, d, "limits.cpu.allowance", "10ms/100ms", "cpu.max", "10000 100000")
	throttled := counter(t, group(t, d, "c1")+"/cpu.stat", "nr_throttled")
	d.Berth("exec", "c1", "--", "sh", "-c", "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done")
	if now := counter(t, group(t, d, "c1")+"/cpu.stat", "nr_throttled"); now <= throttled {
		t.Errorf("a busy loop was not held back: %d, before %d", now, throttled)
	}
	d.Berth("config", "unset", "c1", "limits.cpu.allowance")
	wantFile(t, d, "limits.cpu.allowance unset", "cpu.max", "max 100000")

	before := read(t, group(t, d, "c1")+"/cpu.weight")
	d.Berth("config", "set", "c1", "limits.cpu.allowance", "25%")
	if now := read(t, group(t, d, "c1")+"/cpu.weight"); before == now {
		t.Errorf("a soft allowance of 25%% leaves cpu.weight at %s", now)
	}
	d.Berth("config", "unset", "c1", "limits.cpu.allowance")
	wantFile(t, d, "limits.cpu.allowance unset", "cpu.weight", before)
}

func aPauseFreezesTheGroup(t *testing.T, d *harness.Daemon) {
	d.Berth("pause", "c1")
	if frozen := counter(t, group(t, d, "c1")+"/cgroup.events", "frozen"); frozen != 1 {
		t.Errorf("a paused container has frozen %d", frozen)
	}
	d.Berth("start", "c1")
	if frozen := counter(t, group(t, d, "c1")+"/cgroup.events", "frozen"); frozen != 0 {
		t.Errorf("a resumed container has frozen %d", frozen)
	}
	d.Berth("exec", "c1", "--", "true")
}

func aSnapshotComesBack(t *testing.T, d *harness.Daemon) {
	d.Berth("exec", "c1", "--", "sh", "-c", "echo before > /root/f")
	d.Berth("snapshot", "c1", "s")
	d.Berth("exec", "c1", "--", "sh", "-c", "echo after > /root/f")
	d.Berth("restore", "c1", "s")
	if got := d.Berth("exec", "c1", "--", "cat", "/root/f"); got != "before\n" {
		t.Errorf("after a restore the file says %q", got)
	}
}

func usageIsRead(t *testing.T, d *harness.Daemon) {
	out := d.Berth("info", "c1")
	for _, want := range []string{"Memory (current)", "CPU usage", "Processes:"} {
		if !strings.Contains(out, want) {
			t.Errorf("info does not show %q:\n%s", want, out)
		}
	}
}

func nothingIsLeft(t *testing.T, d *harness.Daemon) {
	where := group(t, d, "c1")
	d.Berth("delete", "--force", "c1")
	harness.Eventually(t, 10*time.Second, "the control group is gone", func() bool {
		_, err := command("ls", "-d", where).Output()
		return err != nil
	})
	if left := d.HostLeftovers(); len(left) > 2 { // the daemon itself and its helper
		t.Errorf("left over on the host: %q", left)
	}
}
