package bridge

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/nettest"
)

// running lists the processes that run the program dnsmasq; the tests have a PID namespace of their own.
func running(t *testing.T) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, e := range entries {
		exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe")) // a zombie has none
		if err == nil && filepath.Base(exe) == "dnsmasq" {
			var pid int
			if _, err := fmt.Sscan(e.Name(), &pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// poser is root of a guest, in user and PID namespaces of its own, that calls itself the dnsmasq of a folder.
type poser struct {
	t    *testing.T
	cmd  *exec.Cmd
	hits string // a file that it writes to when it gets a signal
}

func pose(t *testing.T, dir string, args ...string) *poser {
	t.Helper()
	p := &poser{t: t, hits: filepath.Join(t.TempDir(), "hits")}
	script := fmt.Sprintf(`for s in HUP TERM INT USR1; do trap "echo $s >>%s" $s; done; echo; while :; do read x; done`, p.hits)
	p.cmd = &exec.Cmd{Path: "/bin/sh", Args: append([]string{"/usr/sbin/dnsmasq", "-c", script, "--pid-file=" + filepath.Join(dir, pidFile)}, args...)}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID, UidMappings: ids, GidMappings: ids, Pdeathsig: syscall.SIGKILL}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // its traps are set
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = in.Close(); _ = p.cmd.Wait() })
	return p
}

// untouched checks that it lives and was sent nothing.
func (p *poser) untouched() {
	p.t.Helper()
	if data, err := os.ReadFile(p.hits); err == nil {
		p.t.Errorf("a process of a guest was sent %q", data)
	}
	if err := p.cmd.Process.Signal(syscall.Signal(0)); err != nil {
		p.t.Errorf("a process of a guest was ended: %v", err)
	}
}

func TestAPoserIsNeitherSignalledNorCopied(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	c := config(t, "brpose")
	marker := filepath.Join(t.TempDir(), "copied")
	up(t, c)
	p := pose(t, c.Dir, "--log-facility="+marker)
	pidPath := filepath.Join(c.Dir, pidFile)
	trueRecord, _ := readRecord(c.Dir)
	for name, forge := range map[string]func() error{
		"the PID file is gone":    func() error { return os.Remove(pidPath) },
		"the PID file names it":   func() error { return os.WriteFile(pidPath, []byte(fmt.Sprint(p.cmd.Process.Pid)), 0o644) },
		"the PID was given again": func() error { r := trueRecord; r.PID = p.cmd.Process.Pid; return r.write(c.Dir) },
		"no dnsmasq was recorded": func() error { return os.Remove(filepath.Join(c.Dir, recordFile)) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := StopDnsmasq(t.Context(), c.Dir); err != nil {
				t.Fatal(err)
			}
			up(t, c)
			q, ok := findDnsmasq(c.Dir)
			if !ok {
				t.Fatal("dnsmasq does not run")
			}
			defer q.close()
			if err := q.kill(); err != nil {
				t.Fatal(err)
			}
			if err := forge(); err != nil {
				t.Fatal(err)
			}
			if Running(c.Dir) {
				t.Error("it is taken for dnsmasq")
			}
			for _, act := range []func() error{
				func() error { return ReloadDnsmasq(t.Context(), c.Dir) },
				func() error {
					return DropLeases(t.Context(), c.Dir, always(c), net.HardwareAddr{0, 0x16, 0x3e, 0, 0, 1}, true)
				},
				func() error { return Up(t.Context(), c) },
			} {
				if err := act(); err != nil {
					t.Error(err)
				}
			}
			p.untouched()
			if got := running(t); len(got) != 1 || !Running(c.Dir) {
				t.Errorf("dnsmasq runs as %v, known: %v", got, Running(c.Dir))
			}
		})
	}
	down(t, c)
	p.untouched()
	if _, err := os.Stat(marker); err == nil {
		t.Error("a guest's arguments were run")
	}
}

// What was recorded is compared in each of its parts.
func TestARecordOfAnotherProcessIsNotBelieved(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	c := config(t, "brrecord")
	up(t, c)
	defer down(t, c)
	right, ok := readRecord(c.Dir)
	if !ok {
		t.Fatal("no record")
	}
	for name, change := range map[string]func(*processRecord){
		"start": func(r *processRecord) { r.Start++ }, "boot": func(r *processRecord) { r.Boot = "another" },
		"program": func(r *processRecord) { r.Inode++ }, "device": func(r *processRecord) { r.Dev++ },
	} {
		wrong := right
		change(&wrong)
		if err := wrong.write(c.Dir); err != nil {
			t.Fatal(err)
		}
		if Running(c.Dir) {
			t.Errorf("a record with another %s is believed", name)
		}
	}
	if err := right.write(c.Dir); err != nil || !Running(c.Dir) {
		t.Error("the right record is not", err)
	}
}

// A child may still show the daemon's own program when it is recorded.
func TestAChildIsRecordedByTheProgramItIsToRun(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	var want processRecord
	if want.Dev, want.Inode, err = fileOf(sleep); err != nil {
		t.Fatal(err)
	}
	unborn, err := identify(os.Getpid(), sleep) // shows our program as such a child does
	if err != nil || unborn.Dev != want.Dev || unborn.Inode != want.Inode || unborn.Start == 0 {
		t.Errorf("recorded as %+v, %v; want the program of %+v", unborn, err, want)
	}
	cmd := exec.Command(sleep, "infinity")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	eventually(t, func() bool { r, err := observe(cmd.Process.Pid); return err == nil && r.Inode == want.Inode })
	if got, err := identify(cmd.Process.Pid, "/bin/sh"); err != nil || got.Dev != want.Dev || got.Inode != want.Inode {
		t.Errorf("recorded as %+v, %v; want what it runs: %+v", got, err, want)
	}
}

// A dnsmasq of a Berth without records is ended by what it has open, so that the network comes up after an upgrade.
func TestADnsmasqWithoutARecordIsReplaced(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	c := config(t, "brolder")
	up(t, c)
	before, _ := readRecord(c.Dir)
	if err := os.Remove(filepath.Join(c.Dir, recordFile)); err != nil {
		t.Fatal(err)
	}
	up(t, c)
	after, ok := readRecord(c.Dir)
	if got := running(t); !ok || after.PID == before.PID || len(got) != 1 || got[0] != after.PID {
		t.Errorf("dnsmasq runs as %v; the record was %+v, is %+v", got, before, after)
	}
	down(t, c)
	if got := running(t); len(got) > 0 {
		t.Errorf("dnsmasq is left: %v", got)
	}
}

// A dnsmasq that is being killed has sockets for a little longer than a program.
func TestTheNextWaitsForTheEndOfTheLast(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	c := config(t, "brlast")
	up(t, c)
	defer down(t, c)
	for n := range 20 {
		r, ok := readRecord(c.Dir)
		if !ok {
			t.Fatal("no record")
		}
		if err := unix.Kill(r.PID, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		c.IPv4.Expiry = fmt.Sprintf("%dh", n+2)
		up(t, c)
	}
}

const helperDir = "BERTH_TEST_BRIDGE_DIR"

// TestHelperUp is the daemon of TestAKillWhileDnsmasqStarts.
func TestHelperUp(t *testing.T) {
	dir := os.Getenv(helperDir)
	if dir == "" {
		t.Skip("run by TestAKillWhileDnsmasqStarts")
	}
	c := config(t, "brkill")
	c.Dir = dir
	t.Fatalf("survived: %v", Up(t.Context(), c))
}

// Killed at any instant of a start, the daemon leaves either no dnsmasq or one that it knows again.
func TestAKillWhileDnsmasqStarts(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	for _, test := range []struct {
		point string
		left  int
	}{{"network.link.made", 0}, {"network.dnsmasq.started", 0}, {"network.dnsmasq.recorded", 0}, {"network.dnsmasq.released", 1}} {
		t.Run(test.point, func(t *testing.T) {
			c := config(t, "brkill")
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestHelperUp$")
			// It is killed before it can remove a folder of its own.
			cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), helperDir+"="+c.Dir, fault.Env+"="+test.point+"=kill")
			out, err := cmd.CombinedOutput()
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the daemon was not killed: %v\n%s", err, out)
			}
			if !eventually(t, func() bool { return len(running(t)) == test.left }) {
				t.Errorf("dnsmasq runs as %v", running(t))
			}
			if Running(c.Dir) != (test.left == 1) {
				t.Errorf("known to run: %v", Running(c.Dir))
			}
			before := running(t)
			up(t, c)
			after := running(t)
			if len(after) != 1 || len(before) == 1 && before[0] != after[0] || !Running(c.Dir) {
				t.Errorf("dnsmasq ran as %v, runs as %v, known: %v", before, after, Running(c.Dir))
			}
			if left, _ := filepath.Glob(filepath.Join(c.Dir, goFile+".*")); len(left) > 0 && test.left == 0 {
				t.Errorf("left: %v", left)
			}
			down(t, c)
		})
	}
}

// A configuration that keeps standard error open must not keep the daemon waiting, and what goes wrong late is told too.
func TestWhatDnsmasqLogsToIsTheAdminsChoice(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	c := config(t, "brlog")
	c.RawDnsmasq = "log-facility=-"
	up(t, c)
	if !Running(c.Dir) {
		t.Error("dnsmasq does not run")
	}
	c.RawDnsmasq = "log-facility=/nowhere/log"
	if err := Up(t.Context(), c); err == nil || !strings.Contains(err.Error(), "/nowhere/log") {
		t.Errorf("error is %v", err)
	}
	down(t, c)
	if got := running(t); len(got) > 0 {
		t.Errorf("dnsmasq is left: %v", got)
	}
}
