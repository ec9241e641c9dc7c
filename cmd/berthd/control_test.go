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
