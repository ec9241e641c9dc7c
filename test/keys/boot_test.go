package keys_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/test/harness"
)

// allowed is every system call of this architecture but those that make folders.
func allowed(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `echo '#include <sys/syscall.h>' | cc -E -dM - | sed -n 's/^#define __NR_\([a-z0-9_]*\) .*/\1/p'`).Output()
	if err != nil || len(out) == 0 {
		t.Fatalf("the names of system calls: %v", err)
	}
	var names []string
	for _, name := range strings.Fields(string(out)) {
		if name != "mkdir" && name != "mkdirat" {
			names = append(names, name)
		}
	}
	return strings.Join(names, "\n")
}

// shutDownAndUp shuts the daemon down as the host's shutdown does, starts it again, and notes what came in which order in files of
// its folder: see bootKeys. "hi" does not answer the signal that it is to stop at.
func (w *world) shutDownAndUp(t *testing.T) {
	t.Helper()
	for _, name := range []string{"hi", "lo", "off"} {
		w.Berth("profile", "create", name)
		w.Berth("init", "bb", name, "-p", "default", "-p", name)
	}
	w.Berth("profile", "set", "lo", "boot.autostart=true")
	w.Berth("profile", "set", "hi", "boot.autostart=true", "boot.autostart.delay=2", "boot.autostart.priority=9",
		"boot.host_shutdown_timeout=1", "boot.stop.priority=9")
	w.Berth("profile", "set", "off", "boot.autostart=false")
	w.Berth("start", "hi", "lo", "off")
	hi := w.pid("hi")
	first, second := pidfd(t, hi), pidfd(t, w.pid("lo"))
	if err := syscall.Kill(hi, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	down := exec.Command(harness.Program("berthd"), "shutdown")
	down.Env = w.Environ()
	if err := down.Start(); err != nil {
		t.Fatal(err)
	}
	if !ended(t, second, harness.Slow(time.Minute)) {
		t.Fatal("lo does not end")
	}
	order := "lo first"
	if ended(t, first, 0) {
		order = "hi first"
	}
	if err := down.Wait(); err != nil {
		t.Errorf("berthd shutdown: %v", err)
	}
	w.WaitEnd(30 * time.Second)
	speed := "late"
	if time.Since(begun) < harness.Slow(25*time.Second) { // the default is 30
		speed = "in time"
	}
	w.note(t, "down", order+", "+speed)
	w.Start()
	w.note(t, "delay", fmt.Sprintf("%.2f", w.started(t, "lo")-w.started(t, "hi")))
}

func (w *world) note(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(w.Dir+"/"+name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// started is when an instance's init was started, in seconds since the host was.
func (w *world) started(t *testing.T, name string) float64 {
	t.Helper()
	pid := 0
	harness.Eventually(t, time.Minute, name+" runs", func() bool { pid = w.pid(name); return pid > 0 })
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	var ticks float64
	if _, err := fmt.Sscan(strings.Fields(rest)[19], &ticks); err != nil {
		t.Fatal(err)
	}
	return ticks / 100 // USER_HZ
}

func pidfd(t *testing.T, pid int) int {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// ended waits for the end of a process, and tells whether it came in time.
func ended(t *testing.T, pidfd int, limit time.Duration) bool {
	t.Helper()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(limit.Milliseconds()))
	if err != nil {
		t.Fatal(err)
	}
	return n == 1
}
