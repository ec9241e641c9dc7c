package daemon

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berthd/berth/internal/event"
)

// TestActivatedDaemon is the daemon that TestServiceManager starts.
func TestActivatedDaemon(t *testing.T) {
	root := os.Getenv("TEST_ACTIVATED")
	if root == "" {
		t.Skip("only as a process of its own, which TestServiceManager starts")
	}
	d, err := New(Options{Root: root, Hub: event.NewHub()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	go func() {
		<-told
		cancel()
	}()
	if err := d.Run(ctx); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "WATCHDOG_USEC"} {
		if v, ok := os.LookupEnv(name); ok {
			t.Errorf("%s=%s is left for the programs that the daemon starts", name, v)
		}
	}
}

// A service manager opens the socket, hears when the daemon is ready, that it is alive, and when it stops, and keeps the socket.
func TestServiceManager(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the daemon needs root")
	}
	root := t.TempDir()
	socket := filepath.Join(root, "unix.socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	passed, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer passed.Close()
	_ = l.Close()
	notes, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notes.Close()

	// The variables name the process itself, which the shell becomes.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" -test.run='^TestActivatedDaemon$' -test.v`, os.Args[0])
	cmd.Env = append(os.Environ(), "TEST_ACTIVATED="+root, "NOTIFY_SOCKET="+notes.LocalAddr().String(), "WATCHDOG_USEC=300000")
	cmd.ExtraFiles = []*os.File{passed}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()

	var heard []string
	until := func(wanted string, again int) {
		t.Helper()
		_ = notes.SetReadDeadline(time.Now().Add(time.Minute))
		buf := make([]byte, 4096)
		for again > 0 {
			n, err := notes.Read(buf)
			if err != nil {
				t.Fatalf("%s is not told (%v); heard %q", wanted, err, heard)
			}
			heard = append(heard, string(buf[:n]))
			if string(buf[:n]) == wanted {
				again--
			}
		}
	}
	until("READY=1", 1)
	resp, err := client(root).Get("http://b/1.0")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("on the socket that was passed: %s", resp.Status)
	}
	if running, err := Running(root); err != nil || !running {
		t.Errorf("it runs: %v %v", running, err)
	}
	until("WATCHDOG=1", 2)
	if slices.Contains(heard, "STOPPING=1") {
		t.Error("it stops before it is told to")
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until("STOPPING=1", 1)
	select {
	case err := <-ended:
		if err != nil || strings.Contains(said.String(), "SKIP") {
			t.Errorf("%v\n%s", err, said.String())
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
	if _, err := os.Lstat(socket); err != nil {
		t.Errorf("the manager's socket: %v", err)
	}
	if running, err := Running(root); err != nil || running {
		t.Errorf("it has ended: %v %v", running, err)
	}
}
