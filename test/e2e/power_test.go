package e2e

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

func initPID(d *harness.Daemon, name string) int {
	var s struct {
		Pid int `json:"pid"`
	}
	_ = json.Unmarshal([]byte(d.Berth("query", "/1.0/instances/"+name+"/state")), &s)
	return s.Pid
}

func TestARebootInsideTakesTheCurrentConfiguration(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1", "-c", "limits.processes=50")
	before := initPID(d, "c1")
	d.Berth("config", "set", "c1", "security.nesting", "true")
	d.Berth("config", "set", "c1", "linux.sysctl.net.ipv4.ip_forward", "1")
	_, _ = d.Try(harness.Program("berth"), "exec", "c1", "--", "reboot", "-f")
	harness.Eventually(t, 20*time.Second, "c1 runs again", func() bool {
		now := initPID(d, "c1")
		return now != 0 && now != before
	})
	wantStatus(d, "c1", "RUNNING")
	if got := d.Berth("exec", "c1", "--", "cat", "/proc/sys/net/ipv4/ip_forward"); got != "1\n" {
		t.Errorf("the sysctl set before the reboot is %q", got)
	}
	d.Berth("exec", "c1", "--", "test", "-d", "/dev/.lxc/proc")
	d.Berth("delete", "--force", "c1")
}

func TestAShutdownStopsInOrderAndTheNextStartBringsBack(t *testing.T) {
	for name, end := range map[string]func(d *harness.Daemon){
		"shutdown": func(d *harness.Daemon) {
			if out, err := d.Try(harness.Program("berthd"), "shutdown", "--timeout", "60"); err != nil {
				d.T.Fatalf("%v %s", err, out)
			}
		},
		"SIGPWR": func(d *harness.Daemon) { _ = syscall.Kill(d.PID(), syscall.SIGPWR) },
	} {
		t.Run(name, func(t *testing.T) {
			d := harness.New(t).Pool().Image()
			d.Berth("network", "create", "br", "ipv4.address=10.77.0.1/24", "ipv6.address=none")
			for name, priority := range map[string]string{"first": "9", "second": "5", "last": "1"} {
				d.Berth("launch", "bb", name, "--network", "br", "-c", "boot.stop.priority="+priority, "-c", "boot.host_shutdown_timeout=15")
			}
			d.Berth("init", "bb", "off")
			d.Berth("launch", "bb", "manual", "-c", "boot.autostart=false", "-c", "boot.host_shutdown_timeout=1")
			seen := follow(d)
			end(d)
			d.WaitEnd(60 * time.Second)
			events := seen()
			if a, b, c := strings.Index(events, "/instances/first"), strings.Index(events, "/instances/second"),
				strings.Index(events, "/instances/last"); a < 0 || b < a || c < b {
				t.Errorf("they did not stop in order:\n%s", events)
			}
			if left := d.HostLeftovers(); len(left) > 0 {
				t.Errorf("left on the host: %q", left)
			}
			d.Start()
			for _, name := range []string{"first", "second", "last"} {
				harness.Eventually(t, 30*time.Second, name+" runs again", func() bool { return status(d, name) == "RUNNING" })
			}
			wantStatus(d, "off", "STOPPED")
			wantStatus(d, "manual", "STOPPED")
			d.Berth("delete", "--force", "first", "second", "last", "off", "manual")
			d.Berth("network", "delete", "br")
		})
	}
}

// follow collects lifecycle events from now on until the daemon ends.
func follow(d *harness.Daemon) func() string {
	d.T.Helper()
	monitor := exec.Command(harness.Program("berth"), "monitor", "--type", "lifecycle", "--format", "json")
	monitor.Env = d.Environ()
	out, err := monitor.StdoutPipe()
	if err == nil {
		err = monitor.Start()
	}
	if err != nil {
		d.T.Fatal(err)
	}
	d.T.Cleanup(func() { _ = monitor.Process.Kill(); _ = monitor.Wait() })
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	harness.Eventually(d.T, 10*time.Second, "the monitor hears something", func() bool {
		d.Berth("config", "set", "off", "user.tick", time.Now().Format(time.RFC3339Nano))
		return len(lines) > 0
	})
	return func() string {
		var all []string
		for line := range lines {
			all = append(all, line)
		}
		return strings.Join(all, "\n")
	}
}

func TestExpiredSnapshotsGo(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("init", "bb", "c1")
	d.Berth("snapshot", "c1", "keep")
	d.Berth("snapshot", "c1", "gone")
	at := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339)
	d.Berth("query", "--wait", "-X", "PUT", "-d", `{"expires_at":"`+at+`"}`, "/1.0/instances/c1/snapshots/gone")
	harness.Eventually(t, 2*time.Minute, "the snapshot is deleted", func() bool {
		return !strings.Contains(d.Berth("query", "/1.0/instances/c1/snapshots"), "gone")
	})
	if !strings.Contains(d.Berth("query", "/1.0/instances/c1/snapshots"), "keep") {
		t.Error("the other one is gone too")
	}
	// One that expired while no daemon ran.
	d.Berth("snapshot", "c1", "late")
	at = time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339)
	d.Berth("query", "--wait", "-X", "PUT", "-d", `{"expires_at":"`+at+`"}`, "/1.0/instances/c1/snapshots/late")
	d.Restart()
	harness.Eventually(t, 2*time.Minute, "the late snapshot is deleted", func() bool {
		return !strings.Contains(d.Berth("query", "/1.0/instances/c1/snapshots"), "late")
	})
	d.Berth("delete", "c1")
}
