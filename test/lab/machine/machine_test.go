package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stand is a process that stands for a machine's QEMU: it has the machine's folder in its command line and its number in the pidfile.
func stand(t *testing.T, m *Machine) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("tail", "-f", "/dev/null", m.path("lock"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if err := os.WriteFile(m.path("pid"), fmt.Appendf(nil, "%d\n", cmd.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func claimed(t *testing.T, c Config, name string, kept bool) *Machine {
	t.Helper()
	m := &Machine{Config: c, Name: name}
	if err := m.claim(kept); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestASweepEndsWhatAKilledRunLeft(t *testing.T) {
	c := Config{Dir: t.TempDir()}
	left, used, kept, ended := claimed(t, c, "left", false), claimed(t, c, "used", false), claimed(t, c, "kept", true), claimed(t, c, "ended", true)
	qemu := stand(t, left)
	stand(t, used)
	stand(t, kept)
	// A lock goes with the process that held it.
	for _, m := range []*Machine{left, kept, ended} {
		_ = m.lock.Close()
	}
	names, err := Sweep(c)
	if got := strings.Join(names, " "); err != nil || got != "ended left" {
		t.Errorf("swept %q: %v", got, err)
	}
	if err := qemu.Wait(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("the process that was left: %v", err)
	}
	for m, want := range map[*Machine]bool{left: false, used: true, kept: true, ended: false} {
		if _, err := os.Stat(m.path("")); (err == nil) != want {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
	if _, err := Attach(c, "kept"); err != nil {
		t.Errorf("what is kept is not found: %v", err)
	}
	if _, err := Attach(c, "used"); err == nil {
		t.Error("another run's machine is taken for one that is kept")
	}
}

func TestANumberThatAnotherProcessGotIsNotSignalled(t *testing.T) {
	m := claimed(t, Config{Dir: t.TempDir()}, "m", false)
	if err := os.WriteFile(m.path("pid"), fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := findProcess(m.path("pid"), m.path("")); !errors.Is(err, errNoProcess) {
		t.Errorf("this test is taken for QEMU: %v", err)
	}
	if err := os.WriteFile(m.path("pid"), []byte("many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := findProcess(m.path("pid"), m.path("")); err == nil || errors.Is(err, errNoProcess) {
		t.Errorf("a pidfile without a number: %v", err)
	}
}

func TestTwoMachinesOfOneNameAreRefused(t *testing.T) {
	c := Config{Dir: t.TempDir()}
	first := claimed(t, c, "m", false)
	if err := (&Machine{Config: c, Name: "m"}).claim(false); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("the second: %v", err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	claimed(t, c, "m", false)
}

func TestWithoutAnImageTheWayToItIsNamed(t *testing.T) {
	c := Config{Dir: t.TempDir()}
	if _, err := Start(t.Context(), c, "m", false); !errors.Is(err, ErrNoImage) {
		t.Errorf("start: %v", err)
	}
	if err := Save(t.Context(), c, "m"); !errors.Is(err, ErrNoImage) {
		t.Errorf("save: %v", err)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "run")); err == nil {
		t.Error("a folder was made for nothing")
	}
}

func TestTheProcessorsTimeIsCounted(t *testing.T) {
	self := &process{pid: os.Getpid()}
	before := self.cpu()
	for end := time.Now().Add(10 * time.Second); self.cpu() <= before; { // this loop is what uses it
		if time.Now().After(end) {
			t.Fatalf("%s at first, and no more 10 s later", before)
		}
	}
	if used := self.cpu(); used > time.Hour {
		t.Errorf("this test has used %s", used)
	}
}

func TestAMachineThatGoesOffIsNoticed(t *testing.T) {
	m := claimed(t, Config{Dir: t.TempDir()}, "m", false)
	qemu := stand(t, m)
	var err error
	if m.qemu, err = findProcess(m.path("pid"), m.path("")); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("no more time"))
	if err := m.AwaitOff(over); err == nil || !strings.Contains(err.Error(), "no more time") {
		t.Errorf("one that stays on: %v", err)
	}
	if err := qemu.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := m.AwaitOff(t.Context()); err != nil {
		t.Error(err)
	}
	if err := m.Stop(); err != nil {
		t.Errorf("what is off cannot be stopped: %v", err)
	}
}

func TestTheEnvironmentIsReadWhole(t *testing.T) {
	for name, value := range map[string]string{"LAB_DIR": "", "LAB_MEMORY": "512", "LAB_CPUS": ""} {
		t.Setenv(name, value)
	}
	want := Config{Dir: "/var/cache/berth/lab", Tree: "/tree", Memory: 512, CPUs: 2}
	if got, err := Environment("/tree"); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	t.Setenv("LAB_CPUS", "two")
	if _, err := Environment("/tree"); err == nil || !strings.Contains(err.Error(), `LAB_CPUS="two"`) {
		t.Errorf("got %v", err)
	}
}
