// Package harness runs a real berthd for tests: on a folder and in a network namespace of its own, with the
// programs that `make build` made, and looks for leftovers at the end.
package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Limit bounds every single command of a test; see Slow.
const Limit = 120 * time.Second

// Slow is a time-out for where the test runs: $BERTH_TEST_SLOW times longer, which is set where processors are emulated (test/lab).
func Slow(d time.Duration) time.Duration { return d * slowness() }

var slowness = sync.OnceValue(func() time.Duration {
	n, err := strconv.Atoi(os.Getenv("BERTH_TEST_SLOW"))
	if err != nil || n < 1 {
		return 1
	}
	return time.Duration(n)
})

// Daemon is one berthd under test.
type Daemon struct {
	T    testing.TB
	Dir  string   // BERTH_DIR
	Conf string   // BERTH_CONF
	NS   string   // name of the network namespace
	Args []string // further arguments of berthd

	cmd *exec.Cmd
	end chan error
	out *bytes.Buffer
}

// Top is the root of the source tree.
func Top() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Program is the path of one of our programs: $BERTH_BIN, or bin/ of the source tree.
func Program(name string) string {
	if dir := os.Getenv("BERTH_BIN"); dir != "" {
		return filepath.Join(dir, name)
	}
	return filepath.Join(Top(), "bin", name)
}

// New makes a daemon's folder and network namespace, starts the daemon and waits until it is ready. The test's
// end stops it and fails the test if anything is left over.
func New(t testing.TB, env ...string) *Daemon {
	t.Helper()
	d := Prepare(t)
	d.Start(env...)
	return d
}

// Prepare is New without the start.
func Prepare(t testing.TB) *Daemon {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test needs root: it starts real containers")
	}
	base, err := os.MkdirTemp("/var/tmp", "berth-test-")
	if err != nil {
		t.Fatal(err)
	}
	// The containers' root user must be able to walk to its root file system.
	if err := os.Chmod(base, 0o711); err != nil {
		t.Fatal(err)
	}
	d := &Daemon{
		T:    t,
		Dir:  filepath.Join(base, "d"),
		Conf: filepath.Join(base, "c"),
		NS:   filepath.Base(base),
	}
	for _, dir := range []string{d.Dir, d.Conf} {
		if err := os.Mkdir(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	Run(t, nil, "ip", "netns", "add", d.NS)
	Run(t, nil, "ip", "-n", d.NS, "link", "set", "lo", "up")
	t.Cleanup(func() {
		d.cleanup()
		_ = exec.Command("ip", "netns", "del", d.NS).Run()
		if !t.Failed() || os.Getenv("BERTH_TEST_KEEP") == "" {
			_ = os.RemoveAll(base)
		}
	})
	return d
}

// Environ is the environment for clients of this daemon, Berth's and LXD's alike.
func (d *Daemon) Environ() []string {
	return append(os.Environ(),
		"BERTH_DIR="+d.Dir, "BERTH_CONF="+d.Conf, "LXD_DIR="+d.Dir, "LXD_CONF="+d.Conf+"/stock", "LC_ALL=C", "TZ=UTC")
}

// Start starts the daemon with extra variables and waits until it is ready.
func (d *Daemon) Start(env ...string) {
	d.T.Helper()
	d.Launch(env...)
	d.Ready()
}

// Launch starts the daemon and does not wait.
func (d *Daemon) Launch(env ...string) {
	d.T.Helper()
	d.out = &bytes.Buffer{}
	args := append([]string{"--net=/run/netns/" + d.NS, Program("berthd"), "--verbose", "--logfile", d.Dir + "/berthd.log"}, d.Args...)
	d.cmd = exec.Command("nsenter", args...)
	d.cmd.Env = append(d.Environ(), env...)
	d.cmd.Stdout, d.cmd.Stderr = d.out, d.out
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := d.cmd.Start(); err != nil {
		d.T.Fatal(err)
	}
	d.end = make(chan error, 1)
	go func(cmd *exec.Cmd, end chan error) { end <- cmd.Wait() }(d.cmd, d.end)
}

// Ready waits until the daemon is ready.
func (d *Daemon) Ready() {
	d.T.Helper()
	if out, err := d.Try(Program("berthd"), "waitready", seconds(60)); err != nil {
		d.T.Fatalf("berthd does not get ready: %v\n%s\n%s", err, out, d.Log())
	}
}

// seconds is the flag that makes one of our programs wait no longer; see Slow.
func seconds(n int) string {
	return fmt.Sprintf("--timeout=%d", int(Slow(time.Duration(n)*time.Second).Seconds()))
}

// Kill ends the daemon with SIGKILL and waits for its end.
func (d *Daemon) Kill() {
	d.T.Helper()
	_ = d.cmd.Process.Kill()
	d.WaitEnd(10 * time.Second)
}

// WaitEnd waits until the daemon's process has ended.
func (d *Daemon) WaitEnd(limit time.Duration) {
	d.T.Helper()
	select {
	case <-d.end:
		d.cmd = nil
	case <-time.After(Slow(limit)):
		d.T.Fatalf("berthd (pid %d) is still there after %s\n%s", d.cmd.Process.Pid, limit, d.Log())
	}
}

// Ended tells whether the daemon's process has ended.
func (d *Daemon) Ended() bool {
	if d.cmd == nil {
		return true
	}
	select {
	case <-d.end:
		d.cmd = nil
		return true
	default:
		return false
	}
}

// Restart kills the daemon and starts it again.
func (d *Daemon) Restart(env ...string) {
	d.T.Helper()
	d.Kill()
	d.Start(env...)
}

// PID is the daemon's process.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Log is what the daemon printed in this run.
func (d *Daemon) Log() string {
	data, _ := os.ReadFile(d.Dir + "/berthd.log")
	return tail(d.out.String(), 8000) + tail(string(data), 8000)
}

// Berth runs our client and returns its standard output; a failure ends the test.
func (d *Daemon) Berth(args ...string) string {
	d.T.Helper()
	return d.must(Program("berth"), args...)
}

// BerthFails runs our client, which must fail, and returns what it printed on standard error.
func (d *Daemon) BerthFails(args ...string) string {
	d.T.Helper()
	out, err := d.Try(Program("berth"), args...)
	if err == nil {
		d.T.Fatalf("berth %s: should have failed, printed: %s", strings.Join(args, " "), out)
	}
	return err.Error()
}

// Stock runs Debian's lxc against this daemon.
func (d *Daemon) Stock(args ...string) string {
	d.T.Helper()
	return d.must(StockClient(d.T), args...)
}

// StockClient is the path of Debian's lxc client.
func StockClient(t testing.TB) string {
	path, err := exec.LookPath("lxc")
	if err != nil {
		t.Fatal("Debian's package lxd-client is missing: scripts/deps.sh test")
	}
	return path
}

func (d *Daemon) must(name string, args ...string) string {
	d.T.Helper()
	out, err := d.Try(name, args...)
	if err != nil {
		d.T.Fatalf("%s %s: %v\n%s\n%s", filepath.Base(name), strings.Join(args, " "), err, out, d.Log())
	}
	return out
}

// Try runs a program as a client of this daemon; the error holds its standard error and exit status.
func (d *Daemon) Try(name string, args ...string) (string, error) {
	return d.TryInput("", name, args...)
}

// TryInput is Try with something on standard input.
func (d *Daemon) TryInput(input, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Slow(Limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = d.Environ()
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), &Failed{Err: err, Stderr: strings.TrimSpace(stderr.String())}
	}
	return stdout.String(), nil
}

// Failed is a command that did not succeed.
type Failed struct {
	Err    error
	Stderr string
}

// Error shows both the status and what the command said.
func (f *Failed) Error() string { return fmt.Sprintf("%v: %s", f.Err, f.Stderr) }

// Code is the command's exit status, or -1.
func (f *Failed) Code() int {
	var exit *exec.ExitError
	if errors.As(f.Err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// Run runs a program that must succeed.
func Run(t testing.TB, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Slow(Limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Eventually polls until f is true; it fails the test after the limit.
func Eventually(t testing.TB, limit time.Duration, what string, f func() bool) {
	t.Helper()
	limit = Slow(limit)
	end := time.Now().Add(limit)
	for !f() {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// busybox is the small image, made once for all tests of a program and kept in memory, so that nothing stays behind.
var busybox = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "berth-busybox-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "busybox.tar.gz")
	out, err := exec.Command(Program("berth"), "image", "build", "busybox", "--output", path).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("berth image build busybox: %w: %s", err, out)
	}
	return os.ReadFile(path)
})

// Busybox is the path of a small unified image, made from the host's busybox.
func Busybox(t testing.TB) string {
	t.Helper()
	data, err := busybox()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "busybox.tar.gz")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Pool makes the pool "default" and the default profile's root disk.
func (d *Daemon) Pool() *Daemon {
	d.T.Helper()
	d.Berth("storage", "create", "default", "dir")
	d.Berth("profile", "device", "add", "default", "root", "disk", "path=/", "pool=default")
	return d
}

// Image imports the busybox image as "bb".
func (d *Daemon) Image() *Daemon {
	d.T.Helper()
	d.Berth("image", "import", Busybox(d.T), "--alias", "bb")
	return d
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}
