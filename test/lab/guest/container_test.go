package guest

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

// TestContainersOnCgroup2 is one daemon and one container for all its parts, as processes are what is dear in the guest.
func TestContainersOnCgroup2(t *testing.T) {
	inLab(t)
	c := launch(t, harness.New(t).Pool().Image(), "c1")
	part := func(name string, f func(t *testing.T, c *container)) {
		t.Run(name, func(t *testing.T) {
			d := *c.Daemon
			d.T = t
			f(t, &container{Daemon: &d, name: c.name, group: c.group})
		})
	}
	part("memory", memoryIsHeld)
	part("processes", processesAreHeld)
	part("cpu", cpusAreHeld)
	part("pause", aPauseFreezesTheGroup)
	part("usage", usageIsRead)
	part("snapshot", aSnapshotComesBack)
	part("delete", nothingIsLeft)
}

// set changes a key of the running container and checks what its group's file says then.
func (c *container) set(t *testing.T, key, value, file, want string) {
	t.Helper()
	c.config(t, key, value)
	c.wantFile(t, key+"="+value, file, want)
}

// allocate lets a process in the container touch that many bytes, as dd takes them, at once.
func (c *container) allocate(size string) (string, error) {
	return c.try("dd", "if=/dev/zero", "of=/dev/null", "count=1", "bs="+size)
}

func memoryIsHeld(t *testing.T, c *container) {
	c.wantFile(t, "without limits.memory", "memory.max", "max")
	c.set(t, "limits.memory", "48MiB", "memory.max", "50331648")
	kills := c.number(t, "memory.events", "oom_kill")
	if out, err := c.allocate("96M"); err == nil {
		t.Errorf("96 MiB under a limit of 48 MiB went through: %s", out)
	}
	if now := c.number(t, "memory.events", "oom_kill"); now <= kills {
		t.Errorf("the kernel has killed nothing for its memory: %d, before %d", now, kills)
	}
	c.set(t, "limits.memory", "256MiB", "memory.max", "268435456")
	if out, err := c.allocate("96M"); err != nil {
		t.Errorf("96 MiB under a limit of 256 MiB: %v %s", err, out)
	}
	c.set(t, "limits.memory.enforce", "soft", "memory.high", "268435456")
	c.wantFile(t, "a soft limit", "memory.max", "max")
	c.set(t, "limits.memory", "", "memory.high", "max")
	c.wantFile(t, "limits.memory unset", "memory.max", "max")
	c.config(t, "limits.memory.enforce", "")
}

func processesAreHeld(t *testing.T, c *container) {
	c.set(t, "limits.processes", "20", "pids.max", "20")
	refused := c.number(t, "pids.events", "max")
	if out, err := c.try("sh", "-c", "for i in $(seq 30); do sleep 5 & done; wait -n"); err == nil {
		t.Errorf("30 processes under a limit of 20 all started: %s", out)
	}
	if now := c.number(t, "pids.events", "max"); now <= refused {
		t.Errorf("the kernel has refused no fork: %d, before %d", now, refused)
	}
	c.set(t, "limits.processes", "", "pids.max", "max")
}

func cpusAreHeld(t *testing.T, c *container) {
	all := read(t, "/sys/fs/cgroup/cpuset.cpus.effective")
	c.set(t, "limits.cpu", "1-1", "cpuset.cpus", "1")
	if got, err := c.try("nproc"); err != nil || got != "1\n" {
		t.Errorf("with one CPU nproc says %q: %v", got, err)
	}
	c.set(t, "limits.cpu", "", "cpuset.cpus.effective", all)

	c.set(t, "limits.cpu.allowance", "30ms/100ms", "cpu.max", "30000 100000")
	throttled := c.number(t, "cpu.stat", "nr_throttled")
	if out, err := c.try("sh", "-c", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done"); err != nil {
		t.Errorf("a busy loop: %v: %s", err, out)
	}
	if now := c.number(t, "cpu.stat", "nr_throttled"); now <= throttled {
		t.Errorf("a busy loop was not held back: %d, before %d", now, throttled)
	}
	c.set(t, "limits.cpu.allowance", "", "cpu.max", "max 100000")

	before := read(t, c.group+"/cpu.weight")
	c.config(t, "limits.cpu.allowance", "25%")
	if now := read(t, c.group+"/cpu.weight"); before == now {
		t.Errorf("a soft allowance of 25%% leaves cpu.weight at %s", now)
	}
	c.set(t, "limits.cpu.allowance", "", "cpu.weight", before)
}

func aPauseFreezesTheGroup(t *testing.T, c *container) {
	c.Berth("pause", "c1")
	if frozen := c.number(t, "cgroup.events", "frozen"); frozen != 1 {
		t.Errorf("a paused container has frozen %d", frozen)
	}
	c.Berth("start", "c1")
	if frozen := c.number(t, "cgroup.events", "frozen"); frozen != 0 {
		t.Errorf("a resumed container has frozen %d", frozen)
	}
	if got, err := c.try("hostname"); err != nil || got != "c1\n" {
		t.Errorf("the host name after a pause is %q: %v", got, err)
	}
}

func usageIsRead(t *testing.T, c *container) {
	var state struct {
		Metadata struct {
			Memory    struct{ Usage int64 }
			CPU       struct{ Usage int64 }
			Processes int64
		}
	}
	if err := json.Unmarshal(c.call(t, http.MethodGet, "/state", nil), &state); err != nil {
		t.Fatal(err)
	}
	if s := state.Metadata; s.Memory.Usage <= 0 || s.CPU.Usage <= 0 || s.Processes <= 0 {
		t.Errorf("the state shows no usage: %+v", s)
	}
}

func aSnapshotComesBack(t *testing.T, c *container) {
	c.Berth("exec", "c1", "--", "sh", "-c", "echo before > /root/f")
	c.Berth("snapshot", "c1", "s")
	c.Berth("exec", "c1", "--", "sh", "-c", "echo after > /root/f")
	c.Berth("restore", "c1", "s")
	if got, err := c.try("cat", "/root/f"); err != nil || got != "before\n" {
		t.Errorf("after a restore the file says %q: %v", got, err)
	}
}

func nothingIsLeft(t *testing.T, c *container) {
	c.find(t)
	c.Berth("delete", "--force", "c1")
	harness.Eventually(t, 10*time.Second, "the control group is gone", func() bool {
		_, err := os.Stat(c.group)
		return os.IsNotExist(err)
	})
	if left := c.HostLeftovers(); len(left) > 2 { // the daemon itself and its helper
		t.Errorf("left over on the host: %q", left)
	}
}
