package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

func TestTwoDaemonsOnOneFolder(t *testing.T) {
	d := harness.New(t)
	cmd := exec.Command(harness.Program("berthd"))
	cmd.Env = d.Environ()
	done := make(chan error, 1)
	var out []byte
	go func() {
		var err error
		out, err = cmd.CombinedOutput()
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(string(out), "in use") {
			t.Errorf("the second daemon said %q, %v", out, err)
		}
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		t.Errorf("the second daemon does not end")
	}
	d.Berth("profile", "create", "still-works")
}

func TestTheStoreCanBeBackedUpAndPutBack(t *testing.T) {
	d := harness.New(t)
	db := filepath.Join(d.Dir, "database", "berth.db")
	berthd := harness.Program("berthd")
	d.Berth("profile", "create", "one")
	d.Kill()
	backup := filepath.Join(t.TempDir(), "backup")
	mustTry(t, d, berthd, "store", "check", db)
	mustTry(t, d, berthd, "store", "backup", db, backup)
	d.Start()
	d.Berth("profile", "create", "two")
	d.Kill()

	// A torn file is found out, and the backup brings the daemon back.
	data, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(db, data[:10000], 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := d.Try(berthd, "store", "check", db); err == nil {
		t.Errorf("a torn store is found good: %s", out)
	} else if strings.Contains(err.Error(), "goroutine") {
		t.Errorf("a torn store makes a panic: %v", err)
	}
	d.Launch()
	d.WaitEnd(20 * time.Second)
	if strings.Contains(d.Log(), "goroutine") {
		t.Errorf("a torn store makes the daemon panic: %s", d.Log())
	}
	mustTry(t, d, berthd, "store", "restore", db, backup)
	d.Start()
	got := d.Berth("profile", "list", "--format", "csv")
	if !strings.Contains(got, "one") || strings.Contains(got, "two") {
		t.Errorf("after the restore there are: %s", got)
	}
}

// TestShutdownFromAnotherPIDNamespace: what the daemon calls itself is nobody's number there, or that of another process, and the shutdown failed
// without a word to the daemon, or waited for the other process.
func TestShutdownFromAnotherPIDNamespace(t *testing.T) {
	d := harness.New(t)
	berthd := harness.Program("berthd")
	shutdown := []string{berthd, "shutdown", "--timeout=60"}
	unshared := append([]string{"--pid", "--fork", "--kill-child", "--mount-proc"}, shutdown...)
	mustTry(t, d, "unshare", unshared...)
	d.WaitEnd(10 * time.Second)

	// The other way about: the daemon is the first process of its namespace, and here that is the machine's.
	ended := make(chan error, 1)
	inside := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "nsenter", "--net=/run/netns/"+d.NS, berthd)
	inside.Env = d.Environ()
	if err := inside.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inside.Process.Kill() })
	go func() { ended <- inside.Wait() }()
	d.Ready()
	mustTry(t, d, shutdown[0], shutdown[1:]...)
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(harness.Slow(10 * time.Second)):
		_ = inside.Process.Kill()
		t.Error("the daemon has not ended")
	}
	d.Start()
}
