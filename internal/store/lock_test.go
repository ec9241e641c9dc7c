package store_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/store"
)

// dyingEnv names the store that this program is to hold while its first thread is gone already, as that of a process that
// was killed.
const dyingEnv = "BERTH_STORE_DYING"

func init() { runtime.LockOSThread() } // TestMain runs on the first thread

// die opens a store, ends the first thread, and all of the process when its input ends.
func die(path string) {
	if _, err := store.OpenBolt(path, store.Options{}); err != nil {
		panic(err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println("open")
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
}

func TestOpenOutlivesAKilledProcess(t *testing.T) {
	path := filled(t, 3)
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), dyingEnv+"="+path)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Wait() }()
	defer func() { _ = stdin.Close() }()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "open\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	untilZombie(t, child.Process.Pid)

	opened := make(chan error, 1)
	go func() {
		e, err := store.OpenBolt(path, store.Options{})
		if err == nil {
			err = e.Close()
		}
		opened <- err
	}()
	if err := stdin.Close(); err != nil { // now all of it ends
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Errorf("open after a killed process: %v", err)
	}
	if raw, err := os.ReadFile(path + ".lock"); err != nil || string(raw) != fmt.Sprintln(os.Getpid()) {
		t.Errorf("the lock names %q, %v", raw, err)
	}
}

func untilZombie(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		var state string
		raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if _, err := fmt.Sscanf(string(raw), "%d %s %s", new(int), new(string), &state); err == nil && state == "Z" {
			return
		}
		runtime.Gosched()
	}
	t.Fatal("the first thread of the child does not end")
}
