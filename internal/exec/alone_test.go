package exec

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/fdcount"
	"github.com/berthd/berth/internal/operation"
)

// TestCancelWithoutSockets ends the command with its operation, and at once: nobody else would.
func TestCancelWithoutSockets(t *testing.T) {
	for _, record := range []bool{false, true} {
		s, l := service(t)
		task := execute(t, s, api.InstanceExecPost{Command: []string{"sleep", "1000"}, RecordOutput: record})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- task.Run(ctx, operation.NoProgress{}) }()
		var pid int
		select {
		case pid = <-l.started:
		case err := <-done:
			t.Fatal(err)
		}
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("the operation does not end")
		}
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 10000); n != 1 {
			_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
			t.Errorf("recorded %v: the command goes on: %d, %v", record, n, err)
		}
		_ = unix.Close(pidfd)
	}
}

// TestRecordsAreForRootAlone: what commands say may be secret.
func TestRecordsAreForRootAlone(t *testing.T) {
	s, l := service(t)
	task := execute(t, s, api.InstanceExecPost{Command: []string{"true"}, RecordOutput: true})
	if err := task.Run(t.Context(), operation.NoProgress{}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(l.instances["default/c1"].Logs, "exec_*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
}

// TestDescriptorsAreGivenBack runs each kind of command fifty times.
func TestDescriptorsAreGivenBack(t *testing.T) {
	s, _ := service(t)
	alone := func(record bool, command ...string) func() {
		return func() {
			task := execute(t, s, api.InstanceExecPost{Command: command, RecordOutput: record})
			if err := task.Run(t.Context(), operation.NoProgress{}); err != nil && !strings.Contains(err.Error(), "not found") {
				t.Error(err)
			}
		}
	}
	session := func(interactive bool) func(t *testing.T) func() {
		return func(t *testing.T) func() {
			return func() {
				c := script(t, interactive, "true")
				if err := <-c.done; err != nil {
					t.Error(err)
				}
				for _, conn := range c.conns {
					_ = conn.Close()
				}
				c.server.Close()
			}
		}
	}
	for name, do := range map[string]func(t *testing.T) func(){
		"dropped":  func(*testing.T) func() { return alone(false, "true") },
		"recorded": func(*testing.T) func() { return alone(true, "true") },
		"missing":  func(*testing.T) func() { return alone(true, "nosuch-command") },
		"pipes":    session(false),
		"terminal": session(true),
	} {
		t.Run(name, func(t *testing.T) { fdcount.Steady(t, do(t)) })
	}
}
