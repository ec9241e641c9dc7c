// Package nettest gives the tests of a package a network, mounts and processes of their own, so that real bridges,
// rules and daemons can be made without touching the machine, and all of it is gone when the tests end.
package nettest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const inside = "BERTH_NETTEST"

// Main runs the tests inside new network, mount and PID namespaces. Without root it runs them as they are, and so it does for fuzzing;
// those that need the kernel then skip through Need.
func Main(m *testing.M) {
	if os.Geteuid() != 0 || fuzzing() {
		os.Exit(m.Run())
	}
	if os.Getenv(inside) != "" {
		if err := prepare(); err != nil {
			fmt.Fprintln(os.Stderr, "nettest:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nettest:", err)
		os.Exit(1)
	}
}

// fuzzing tells whether this run is one of a fuzz target, whose processes talk over files that they inherit.
func fuzzing() bool {
	return slices.ContainsFunc(os.Args[1:], func(a string) bool {
		return strings.HasPrefix(a, "-test.fuzz=") || strings.HasPrefix(a, "-test.fuzzworker")
	})
}

// prepare makes /proc and /sys show the new namespaces.
func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// Need skips a test where the namespaces could not be had, or a program it runs is missing.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	if os.Getenv(inside) == "" {
		t.Skip("needs root for a network namespace of its own")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs the program %s", p)
		}
	}
}

// Dir is a temporary folder that programs without root's rights can look into.
func Dir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Guest is a process in a network namespace of its own, as an instance's init is.
type Guest struct {
	t   testing.TB
	PID int
}

// NewGuest starts a guest; it ends with the test.
func NewGuest(t testing.TB) *Guest {
	t.Helper()
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &Guest{t: t, PID: cmd.Process.Pid}
}

// Namespace is the guest's network namespace. It is closed when the test ends.
func (g *Guest) Namespace() *os.File { return namespace(g.t, g.PID) }

// Own is the network namespace of the test.
func Own(t testing.TB) *os.File { return namespace(t, os.Getpid()) }

func namespace(t testing.TB, pid int) *os.File {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// Run runs a command in the guest's network and returns what it wrote.
func (g *Guest) Run(args ...string) (string, error) {
	g.t.Helper()
	cmd := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(g.PID), "-n", "--"}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// MustRun is Run that ends the test on failure.
func (g *Guest) MustRun(args ...string) string {
	g.t.Helper()
	out, err := g.Run(args...)
	if err != nil {
		g.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return out
}
