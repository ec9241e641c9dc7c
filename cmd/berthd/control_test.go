package main

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/daemon"
)

// answer answers as a daemon does whose process is pid, and calls end when it is told to end.
func answer(l net.Listener, pid int, end func()) {
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/internal/shutdown" {
			end()
		}
		fmt.Fprintf(w, `{"type":"sync","metadata":{"environment":{"server_pid":%d}}}`, pid)
	}))
}

// listen opens the socket of a daemon, whose folder is BERTH_DIR.
func listen(t *testing.T) net.Listener {
	t.Helper()
	root := t.TempDir()
	t.Setenv("BERTH_DIR", root)
	l, err := net.Listen("unix", filepath.Join(root, "unix.socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// TestAServiceManagersSocketIsNotTheDaemon: what listens is systemd's, and that does not end. The shutdown of a host waited for it until its
// own time-out.
func TestAServiceManagersSocketIsNotTheDaemon(t *testing.T) {
	l := listen(t) // this process stands for systemd, and goes on
	process := exec.Command("sleep", "1000")
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	}()
	go answer(l, process.Process.Pid, func() { _ = process.Process.Kill() })
	if err := shutdown(t.Context(), url.Values{}, 20*time.Second); err != nil {
		t.Error(err)
	}
}

// TestAShutdownEndsThoughTheDaemonDoesNot: the kernel keeps a process of which a thread waits for a disk, and one that is stopped answers
// nobody. Whoever gave a time-out, such as the script that ends the host, waited for ever.
func TestAShutdownEndsThoughTheDaemonDoesNot(t *testing.T) {
	before := endTime
	endTime = 100 * time.Millisecond
	defer func() { endTime = before }()
	for name, serve := range map[string]func(net.Listener){
		"kept by the kernel": func(l net.Listener) { answer(l, os.Getpid(), func() {}) },
		"stopped":            func(net.Listener) {},
	} {
		t.Run(name, func(t *testing.T) {
			go serve(listen(t)) // this process is the daemon, and goes on
			ended := make(chan error, 1)
			go func() { ended <- shutdown(t.Context(), url.Values{}, time.Millisecond) }()
			select {
			case err := <-ended:
				if err == nil || !strings.Contains(err.Error(), "has not ended") {
					t.Errorf("got %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it waits for the daemon")
			}
		})
	}
}

// holding starts a process that has the store of BERTH_DIR locked, as a daemon has, and whose number here the daemon does not know.
func holding(t *testing.T) *exec.Cmd {
	t.Helper()
	lock := daemon.Path(os.Getenv("BERTH_DIR")) + ".lock"
	if err := os.MkdirAll(filepath.Dir(lock), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(lock)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	process := exec.Command("sleep", "1000")
	process.ExtraFiles = []*os.File{f}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	return process
}

// TestShutdownOfADaemonWithAnotherNumber: in another PID namespace the daemon's number is nobody's, and the daemon was not even asked to end, or
// somebody else's, for whose end the shutdown waited.
func TestShutdownOfADaemonWithAnotherNumber(t *testing.T) {
	const nobody = 1 << 30 // more than the kernel gives
	for name, pid := range map[string]int{"nobody's": nobody, "a stranger's": os.Getppid(), "one's own": os.Getpid()} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			process := holding(t)
			go answer(l, pid, func() { _ = process.Process.Kill() })
			if err := shutdown(t.Context(), url.Values{}, 20*time.Second); err != nil {
				t.Error(err)
			}
			if running, err := daemon.Running(os.Getenv("BERTH_DIR")); err != nil || running {
				t.Errorf("it does not wait for the end: running %v, %v", running, err)
			}
		})
	}
}

// TestAShutdownWaitsForTheDaemonsLock: a daemon that has only answered has not ended.
func TestAShutdownWaitsForTheDaemonsLock(t *testing.T) {
	before := endTime
	endTime = 100 * time.Millisecond
	defer func() { endTime = before }()
	l := listen(t)
	holding(t)
	go answer(l, os.Getpid(), func() {})
	if err := shutdown(t.Context(), url.Values{}, time.Millisecond); err == nil || !strings.Contains(err.Error(), "has not ended") {
		t.Errorf("got %v", err)
	}
}

// TestAShutdownDoesNotWaitForTheNextDaemon: a service manager may start one at once, which then has the lock.
func TestAShutdownDoesNotWaitForTheNextDaemon(t *testing.T) {
	l := listen(t)
	holding(t)
	lock := daemon.Path(os.Getenv("BERTH_DIR")) + ".lock"
	go answer(l, os.Getpid(), func() {
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(lock, later, later); err != nil { // as whoever takes the lock does
			t.Error(err)
		}
	})
	if err := shutdown(t.Context(), url.Values{}, 20*time.Second); err != nil {
		t.Error(err)
	}
}

// TestAShutdownThatCannotSeeTheEndSaysSo: where only the socket is at hand, as in a container, the daemon is still told.
func TestAShutdownThatCannotSeeTheEndSaysSo(t *testing.T) {
	told := make(chan struct{}, 10)
	go answer(listen(t), 1<<30, func() { told <- struct{}{} })
	if err := shutdown(t.Context(), url.Values{}, 20*time.Second); err == nil || !strings.Contains(err.Error(), "cannot be seen from here") {
		t.Errorf("got %v", err)
	}
	if len(told) != 1 {
		t.Error("the daemon was not told to end")
	}
}
