package lxc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/internal/driver/lxc/helper/helpertest"
	"github.com/berthd/berth/internal/nettest/hide"
	"github.com/berthd/berth/internal/runtime"
	"github.com/berthd/berth/internal/spec"
)

var helperPath string

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "hide" { // this program, run by a guest
		number, err := hide.Namespace(os.Args[2], "")
		fmt.Println(number, err)
		hide.Stay()
	}
	if len(os.Args) == 6 && os.Args[1] == "hide-disk" {
		hide.AnswerDisk(os.Args[2], os.Args[3], os.Args[4], os.Args[5])
		os.Exit(1)
	}
	os.Exit(helpertest.Main(m, &helperPath))
}

// host is a daemon's folder with a busybox root file system in it.
type host struct {
	*testing.T
	root, rootfs string
}

func newHost(t *testing.T) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox (package busybox-static)")
	}
	root, err := os.MkdirTemp("", "berth-driver-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	h := &host{t, root, filepath.Join(root, "rootfs")}
	h.do(os.Chmod(root, 0o711))
	for _, d := range []string{"bin", "sbin", "dev", "proc", "sys", "etc", "root", "tmp", "mnt"} {
		h.do(os.MkdirAll(filepath.Join(h.rootfs, d), 0o755))
	}
	raw, err := os.ReadFile(busybox)
	h.do(err)
	h.do(os.WriteFile(filepath.Join(h.rootfs, "bin/busybox"), raw, 0o755))
	for _, a := range []string{"sh", "cat", "echo", "env", "id", "pwd", "true", "false", "sleep", "tty", "stty", "kill", "touch", "mkdir", "ls", "stat", "reboot", "test", "grep"} {
		h.do(os.Symlink("busybox", filepath.Join(h.rootfs, "bin", a)))
	}
	h.do(os.Symlink("../bin/busybox", filepath.Join(h.rootfs, "sbin/init")))
	h.do(os.WriteFile(filepath.Join(h.rootfs, "etc/inittab"), []byte("::sysinit:/bin/true\n::respawn:/bin/sleep 1000\n"), 0o644))
	return h
}

func (h *host) do(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *host) driver() *Driver {
	h.Helper()
	d, err := New(Options{Root: h.root, Helper: helperPath, AppArmor: apparmor.New(h.root)})
	h.do(err)
	h.Cleanup(func() { _ = d.Close() })
	return d
}

func (h *host) spec(id string) *spec.Spec {
	return &spec.Spec{
		ID: id, Name: "host-" + id, RootFS: spec.RootFS{Path: h.rootfs, Idmapped: true},
		IDMap:       []spec.IDMapEntry{{UID: true, GID: true, HostID: 1000000, Count: 65536}},
		Environment: map[string]string{"FOO": "bar baz"},
	}
}

func (h *host) context() context.Context {
	limit := 20 * time.Second
	if n, err := strconv.Atoi(os.Getenv("BERTH_TEST_SLOW")); err == nil && n > 1 { // set where processors are emulated: test/lab
		limit *= time.Duration(n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	h.Cleanup(cancel)
	return ctx
}

func (h *host) start(d *Driver, s *spec.Spec) runtime.Process {
	h.Helper()
	h.Cleanup(func() {
		h.do(h.driver().Cleanup(context.Background(), s.ID, s.UUID))
		if d.payload(s.ID).Exists() || d.monitor(s.ID).Exists() {
			h.Error("control groups are left")
		}
	})
	p, err := d.Start(h.context(), s)
	if err != nil {
		log, _ := os.ReadFile(d.Log(s.ID))
		h.Fatalf("%v\n%s", err, log)
	}
	return p
}

// anyone owns every ID, and has no identity.
func anyone(string) (uuid string, ok bool) { return "", true }

// run executes a command and returns its output and status.
func (h *host) run(d *Driver, id string, r runtime.ExecRequest) (string, int) {
	h.Helper()
	out, in, err := os.Pipe()
	h.do(err)
	null, err := os.Open(os.DevNull)
	h.do(err)
	defer func() { _, _ = null.Close(), out.Close() }()
	r.Stdin, r.Stdout, r.Stderr = null, in, in
	c, err := d.Exec(h.context(), id, r)
	_ = in.Close()
	h.do(err)
	text, err := io.ReadAll(out)
	h.do(err)
	status, err := c.Wait()
	h.do(err)
	return string(text), status
}

func (h *host) sh(d *Driver, id, script string) string {
	h.Helper()
	out, status := h.run(d, id, runtime.ExecRequest{Command: []string{"sh", "-c", script}, Environment: map[string]string{"PATH": "/bin"}})
	if status != 0 {
		h.Fatalf("%s: status %d: %s", script, status, out)
	}
	return strings.TrimSpace(out)
}

// reboots has a container restart from inside, which may end the command that does so.
func (h *host) reboots(d *Driver, id string) {
	h.Helper()
	h.run(d, id, runtime.ExecRequest{Command: []string{"sh", "-c", "reboot -f & sleep 0"}, Environment: map[string]string{"PATH": "/bin"}})
}

func TestLifeOfAContainer(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	if got := d.Status("c1"); got != api.Stopped {
		t.Fatal(got)
	}
	p := h.start(d, h.spec("c1"))
	if p.InitPID == 0 || time.Since(p.StartedAt) > time.Minute || d.Status("c1") != api.Running {
		t.Fatalf("%+v, %s", p, d.Status("c1"))
	}
	if got := h.sh(d, "c1", "cat /proc/sys/kernel/hostname; stat -c %u:%g /bin/busybox; cat /proc/1/environ"); !strings.HasPrefix(got, "host-c1\n0:0\n") || !strings.Contains(got, "FOO=bar baz") {
		t.Errorf("inside: %q", got)
	}
	exited := make(chan struct{})
	d.Watch("c1", func() { close(exited) })
	h.do(d.Kill(h.context(), "c1"))
	select {
	case <-exited:
	case <-h.context().Done():
		t.Fatal("nobody was told of the end")
	}
	if got := d.Status("c1"); got != api.Stopped {
		t.Error(got)
	}
	if _, err := d.Exec(h.context(), "c1", runtime.ExecRequest{Command: []string{"true"}}); err == nil || err.Error() != "Instance is not running" {
		t.Error(err)
	}
	h.start(d, h.spec("c1"))
	h.do(d.Shutdown(h.context(), "c1"))
}

func TestExec(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	env := map[string]string{"PATH": "/bin", "A": "b\nc"}
	for name, c := range map[string]struct {
		r      runtime.ExecRequest
		out    string
		status int
	}{
		"status":      {runtime.ExecRequest{Command: []string{"sh", "-c", "exit 42"}}, "", 42},
		"its own 127": {runtime.ExecRequest{Command: []string{"sh", "-c", "exit 127"}}, "", 127},
		"killed":      {runtime.ExecRequest{Command: []string{"sh", "-c", "kill -9 $$"}}, "", 137},
		"environment": {runtime.ExecRequest{Command: []string{"sh", "-c", `echo "$A $container $FOO $HOME."`}}, "b\nc lxc bar baz .\n", 0},
		"folder":      {runtime.ExecRequest{Command: []string{"pwd"}, Cwd: "/tmp"}, "/tmp\n", 0},
		"user":        {runtime.ExecRequest{Command: []string{"sh", "-c", "id -u; id -g; id -G"}, User: 1000, Group: 1001}, "1000\n1001\n1001\n", 0},
		"root":        {runtime.ExecRequest{Command: []string{"id"}}, "uid=0 gid=0\n", 0},
	} {
		c.r.Environment = env
		out, status := h.run(d, "c1", c.r)
		if out != c.out || status != c.status {
			t.Errorf("%s: got %q, %d, want %q, %d", name, out, status, c.out, c.status)
		}
	}
	if _, err := d.Exec(h.context(), "c1", runtime.ExecRequest{Command: []string{"a\x00b"}}); api.StatusOf(err) != 400 {
		t.Error(err)
	}
}

func TestWhatCannotBeExecutedIsTold(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	h.do(err)
	defer func() { _ = null.Close() }()
	for command, want := range map[string]struct {
		status int
		err    error
	}{
		"nope":         {127, runtime.ErrCommandNotFound},
		"/nope/nope":   {127, runtime.ErrCommandNotFound},
		"/etc/inittab": {126, runtime.ErrCommandNotExecutable},
		"/":            {126, runtime.ErrCommandNotExecutable},
	} {
		c, err := d.Exec(h.context(), "c1", runtime.ExecRequest{Command: []string{command}, Stdin: null, Stdout: null, Stderr: null})
		h.do(err)
		if status, err := c.Wait(); status != want.status || !errors.Is(err, want.err) {
			t.Errorf("%s: %d, %v", command, status, err)
		}
	}
}

func TestSignalReachesTheCommand(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	h.do(err)
	defer func() { _ = null.Close() }()
	c, err := d.Exec(h.context(), "c1", runtime.ExecRequest{Command: []string{"/bin/sleep", "100"}, Stdin: null, Stdout: null, Stderr: null})
	h.do(err)
	h.do(c.Signal(int(unix.SIGTERM)))
	if status, err := c.Wait(); err != nil || status != 143 {
		t.Errorf("%d, %v", status, err)
	}
}

func TestTerminal(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	controller, terminal, err := d.Terminal(h.context(), "c1")
	h.do(err)
	defer func() { _ = controller.Close() }()
	h.do(Resize(controller, 91, 33))
	c, err := d.Exec(h.context(), "c1", runtime.ExecRequest{
		Command: []string{"sh", "-c", "tty; stty size; stat -c %u $(tty); echo hi >/dev/tty; test -t 2"}, Environment: map[string]string{"PATH": "/bin"},
		Stdin: terminal, Stdout: terminal, Stderr: terminal, Terminal: true,
	})
	h.do(err)
	h.do(terminal.Close())
	out, err := io.ReadAll(controller)
	if err != nil && !errors.Is(err, unix.EIO) { // how a terminal says that its other end is closed
		t.Error(err)
	}
	if status, err := c.Wait(); err != nil || status != 0 || string(out) != "/dev/pts/1\r\n33 91\r\n0\r\nhi\r\n" {
		t.Errorf("%d, %v, %q", status, err, out)
	}
}

func TestAnotherDaemonFindsIt(t *testing.T) {
	h := newHost(t)
	first := h.driver()
	p := h.start(first, h.spec("proj_c1"))
	h.do(first.Freeze(h.context(), "proj_c1"))
	second := h.driver()
	found, err := second.Find(h.context(), anyone)
	h.do(err)
	if got := found["proj_c1"]; len(found) != 1 || got.InitPID != p.InitPID || got.StartedAt.Sub(p.StartedAt).Abs() > time.Second {
		t.Fatalf("found %+v, want %+v", found, p)
	}
	if got := second.Status("proj_c1"); got != api.Frozen {
		t.Error(got)
	}
	other := newHost(t).driver()
	if found, err := other.Find(h.context(), anyone); err != nil || len(found) != 0 {
		t.Errorf("a daemon of another folder found %+v, %v", found, err)
	}
	exited := make(chan struct{})
	second.Watch("proj_c1", func() { close(exited) })
	h.do(second.Kill(h.context(), "proj_c1")) // frozen as it is
	<-exited
}

func TestFreeze(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	h.do(d.Freeze(h.context(), "c1"))
	if got := d.Status("c1"); got != api.Frozen {
		t.Error(got)
	}
	h.do(d.Thaw(h.context(), "c1"))
	if got := d.Status("c1"); got != api.Running {
		t.Error(got)
	}
	h.sh(d, "c1", "true")
}

// A child that is frozen between vfork and its program keeps its parent asleep; see cgroup.askAgain.
func TestFreezeWhileProgramsStart(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	h.sh(d, "c1", "(yes | xargs -n 1 /bin/true) > /dev/null 2>&1 &")
	for range 100 {
		h.do(d.Freeze(h.context(), "c1"))
		h.do(d.Thaw(h.context(), "c1"))
	}
}

func TestRestartFromInside(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	p := h.start(d, h.spec("c1"))
	h.reboots(d, "c1")
	for ctx := h.context(); ; {
		s, err := d.State(ctx, "c1", nil)
		if err != nil {
			log, _ := os.ReadFile(d.Log("c1"))
			h.Fatalf("%v\n%s", err, log)
		}
		if s.Pid != 0 && s.Pid != int64(p.InitPID) {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal("there is no other init")
		case <-time.After(5 * time.Millisecond):
		}
	}
	if got := h.sh(d, "c1", "stat -c %u /bin/busybox"); got != "0" {
		t.Errorf("root's file belongs to %s", got)
	}
	if got := d.Status("c1"); got != api.Running {
		t.Error(got)
	}
	h.do(d.Kill(h.context(), "c1"))
}

// endsForRestart has a container, whose daemon ends, end as if it restarted from inside.
func (h *host) endsForRestart(d *Driver, id string) {
	h.Helper()
	c := d.get(id)
	monitor, err := unix.PidfdOpen(c.monitor.Load().pid, 0)
	h.do(err)
	defer func() { _ = unix.Close(monitor) }()
	init, err := unix.PidfdOpen(c.process().InitPID, 0)
	h.do(err)
	defer func() { _ = unix.Close(init) }()
	h.do(d.Close())
	// What reboot(2) inside amounts to: process 1 ends by SIGHUP. Only the kernel can have it so; so the hook's mark is left by hand.
	h.do(os.WriteFile(d.layoutOf(id).Restart, nil, 0o600))
	h.do(unix.PidfdSendSignal(init, unix.SIGKILL, nil, 0))
	h.ends(monitor)
}

// ends waits for the end of a pidfd's process.
func (h *host) ends(pidfd int) {
	h.Helper()
	for alive(pidfd) {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 5000)
		if err != nil && !errors.Is(err, unix.EINTR) {
			h.Fatal(err)
		}
	}
}

func TestRestartFromInsideWithoutADaemon(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	h.endsForRestart(d, "c1")
	next := h.driver()
	found, err := next.Find(h.context(), anyone)
	h.do(err)
	if got := found["c1"]; !got.Restart || got.InitPID != 0 || next.Status("c1") != api.Stopped {
		t.Errorf("%+v, %v", found, next.Status("c1"))
	}
	h.start(next, h.spec("c1"))
	found, err = next.Find(h.context(), anyone)
	h.do(err)
	if got := found["c1"]; got.Restart || got.InitPID == 0 {
		t.Errorf("once it runs again: %+v", found)
	}
}

// TestARestartFromInsideThatWaitsGivesWay to who wants the container's end, which waits for it in turn.
func TestARestartFromInsideThatWaitsGivesWay(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	waits := make(chan struct{})
	d.OnRestart(func(ctx context.Context, _ string, _ func(*spec.Spec) error) error {
		close(waits)
		<-ctx.Done()
		return ctx.Err()
	})
	h.start(d, h.spec("c1"))
	h.reboots(d, "c1")
	select {
	case <-waits:
	case <-h.context().Done():
		t.Fatal("it does not restart")
	}
	if got := d.Status("c1"); got != api.Running {
		t.Errorf("while it waits it is %v", got)
	}
	h.do(d.Shutdown(h.context(), "c1"))
	if got := d.Status("c1"); got != api.Stopped {
		t.Error(got)
	}
	h.do(d.Cleanup(h.context(), "c1", ""))
	if d.wantsRestart("c1") {
		t.Error("the mark is left")
	}
}

// busy is the state of a container once its init has begun to start others.
func (h *host) busy(d *Driver, id string) *api.InstanceState {
	h.Helper()
	for ctx := h.context(); ; {
		st, err := d.State(ctx, id, nil)
		h.do(err)
		if st.Processes >= 2 || ctx.Err() != nil {
			return st
		}
		goruntime.Gosched()
	}
}

func TestStateAndLimits(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	s := h.spec("c1")
	limit, pids := int64(64<<20), int64(50)
	s.Cgroup = spec.Cgroup{MemoryLimit: &limit, Pids: &pids, CPUSet: "0"}
	s.Rlimits = map[string]string{"nofile": "3000:3000"}
	h.start(d, s)
	st := h.busy(d, "c1")
	if st.Memory.Usage <= 0 || st.CPU.Usage <= 0 || st.Processes < 2 || st.Pid == 0 || st.Status != "Running" {
		t.Errorf("%+v", st)
	}
	if got := d.payload("c1").MemoryLimit(); got != limit {
		t.Errorf("memory limit %d", got)
	}
	if got := h.sh(d, "c1", "grep Cpus_allowed_list /proc/1/status; ulimit -n"); got != "Cpus_allowed_list:\t0\n3000" {
		t.Errorf("%q", got)
	}
	before := s.Cgroup
	limit, old := limit*2, limit
	before.MemoryLimit = &old
	doubled := spec.Cgroup{MemoryLimit: &limit, SwapLimit: &limit}
	h.do(d.Limits(h.context(), "c1", before, doubled))
	if got := d.payload("c1").MemoryLimit(); got != limit {
		t.Errorf("memory limit %d", got)
	}
	if got := h.sh(d, "c1", "grep Cpus_allowed_list /proc/1/status"); got == "Cpus_allowed_list:\t0" {
		t.Errorf("%q", got)
	}
	h.do(d.Limits(h.context(), "c1", doubled, spec.Cgroup{}))
	if got := d.payload("c1").MemoryLimit(); got != -1 {
		t.Errorf("memory limit %d", got)
	}
}

// TestAChangeOfOneLimitLeavesTheOthers: those that raw.lxc has set, and on the way back all.
func TestAChangeOfOneLimitLeavesTheOthers(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	s := h.spec("c1")
	prefix := "lxc.cgroup."
	if d.cgroups.Unified() {
		prefix = "lxc.cgroup2."
	}
	s.RawLXC = prefix + "pids.max = 50"
	h.start(d, s)
	state := func() string {
		h.Helper()
		pids, weight, share := int64(7), int64(300), int64(700)
		seen, err := d.LookLimits("c1", spec.Cgroup{}, spec.Cgroup{MemoryLimit: &weight, Pids: &pids, CPUShares: &share, CPUWeight: &share, BlkioWeight: &weight})
		h.do(err)
		return string(seen)
	}
	before := state()
	if !strings.Contains(before, `"pids.max","Value":"50"`) {
		h.Fatalf("the limits are %s", before)
	}
	limit := int64(64 << 20)
	change := spec.Cgroup{MemoryLimit: &limit}
	seen, err := d.LookLimits("c1", spec.Cgroup{}, change)
	h.do(err)
	h.do(d.Limits(h.context(), "c1", spec.Cgroup{}, change))
	if got := d.payload("c1").MemoryLimit(); got != limit {
		h.Errorf("memory limit %d", got)
	}
	if now := state(); !strings.Contains(now, `"pids.max","Value":"50"`) {
		h.Errorf("the limits were %s and are %s", before, now)
	}
	h.do(d.RestoreLimits(h.context(), "c1", seen))
	if now := state(); now != before {
		h.Errorf("the limits were %s and are %s", before, now)
	}
	if err := d.RestoreLimits(h.context(), "c1", []byte("{")); err == nil {
		h.Error("what is no list was restored")
	}
}

func TestMountWhileItRuns(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	source := filepath.Join(h.root, "source")
	h.do(os.MkdirAll(source, 0o755))
	h.do(os.WriteFile(filepath.Join(source, "file"), []byte("data"), 0o644))
	h.do(d.Mount(h.context(), "c1", spec.Mount{Source: source, Target: "mnt/a b/c", Create: "dir", Idmapped: true, Options: []string{"bind", "ro"}}))
	if got := h.sh(d, "c1", "cat '/mnt/a b/c/file'; stat -c ' %u' '/mnt/a b/c/file' '/mnt/a b'; touch '/mnt/a b/c/x' || true"); !strings.HasPrefix(got, "data 0\n 0\n") || !strings.Contains(got, "Read-only") {
		t.Errorf("%q", got)
	}
	h.do(d.Unmount(h.context(), "c1", spec.Mount{Source: source, Target: "mnt/a b/c"}, nil))
	h.do(d.Unmount(h.context(), "c1", spec.Mount{Source: source, Target: "mnt/a b/c"}, nil))
	h.sh(d, "c1", "test ! -e '/mnt/a b/c/file'")
	h.do(d.Mount(h.context(), "c1", spec.Mount{Source: filepath.Join(source, "file"), Target: "tmp/f", Create: "file"}))
	if got := h.sh(d, "c1", "cat /tmp/f"); got != "data" {
		t.Errorf("%q", got)
	}
	// A link to a folder of the host leads to the guest's own.
	h.sh(d, "c1", "ln() { busybox ln \"$@\"; }; busybox ln -s "+h.root+" /evil")
	if err := d.Mount(h.context(), "c1", spec.Mount{Source: source, Target: "evil/x", Create: "dir"}); err == nil {
		t.Error("a link led to a folder that does not exist inside")
	}
	if _, err := os.Stat(filepath.Join(h.root, "x")); err == nil {
		t.Error("the host got a folder")
	}
	if err := d.Mount(h.context(), "c1", spec.Mount{Source: source, Target: "../x"}); api.StatusOf(err) != 400 {
		t.Error(err)
	}
}

func TestConsole(t *testing.T) {
	h := newHost(t)
	h.do(os.WriteFile(filepath.Join(h.rootfs, "etc/inittab"), []byte("::sysinit:/bin/true\nconsole::respawn:/bin/sh\n"), 0o644))
	d := h.driver()
	h.start(d, h.spec("c1"))
	c, err := d.Console(h.context(), "c1")
	h.do(err)
	// What is typed before liblxc has the terminal ready is dropped, as by any login: so type again.
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for tick := time.Tick(50 * time.Millisecond); ; {
			_, _ = io.WriteString(c, "echo abc$((1+1))\r")
			select {
			case <-tick:
			case <-stop:
				return
			}
		}
	}()
	var seen bytes.Buffer
	buf := make([]byte, 1024)
	for !strings.Contains(seen.String(), "abc2") {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, seen.String())
		}
		seen.Write(buf[:n])
	}
	// The answer is shown before it is logged, and logged before the next one is shown.
	for seen.Reset(); !strings.Contains(seen.String(), "abc2"); {
		n, err := c.Read(buf)
		h.do(err)
		seen.Write(buf[:n])
	}
	h.do(c.Close())
	if raw, err := os.ReadFile(d.ConsoleLog("c1")); err != nil || !strings.Contains(string(raw), "abc2") {
		t.Errorf("%v, %q", err, raw)
	}
}

func TestStartThatFails(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.do(os.Remove(filepath.Join(h.rootfs, "sbin/init")))
	s := h.spec("c1")
	_, err := d.Start(h.context(), s)
	if err == nil || !strings.Contains(err.Error(), "/sbin/init") {
		t.Errorf("%v", err)
	}
	s.RootFS.Path += "-not"
	_, err = d.Start(h.context(), s)
	if err == nil || !strings.Contains(err.Error(), "rootfs") {
		t.Errorf("%v", err)
	}
	if d.payload("c1").Exists() || d.monitor("c1").Exists() || d.Status("c1") != api.Stopped {
		t.Error("something is left")
	}
}

func TestPrivileged(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	s := h.spec("c1")
	s.IDMap = nil
	s.Devices = []spec.DeviceRule{{Allow: true, Rule: "c 1:11 rwm"}}
	h.start(d, s)
	if got := h.sh(d, "c1", "cat /proc/self/uid_map"); !strings.HasSuffix(got, "4294967295") {
		t.Errorf("%q", got)
	}
	h.do(d.AllowDevice(h.context(), "c1", spec.DeviceRule{Allow: true, Rule: "c 10:1 rwm"}))
	h.sh(d, "c1", "busybox mknod /tmp/kmsg c 1 11 && : <>/tmp/kmsg")
}

func BenchmarkStartKill(b *testing.B) {
	h := newHost(&testing.T{})
	defer func() { _ = os.RemoveAll(h.root) }()
	d, err := New(Options{Root: h.root, Helper: helperPath})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	var kill time.Duration
	for b.Loop() {
		if _, err := d.Start(context.Background(), h.spec("b1")); err != nil {
			b.Fatal(err)
		}
		at := time.Now()
		if err := d.Kill(context.Background(), "b1"); err != nil {
			b.Fatal(err)
		}
		kill += time.Since(at)
	}
	b.ReportMetric(float64(kill.Microseconds())/float64(b.N)/1000, "ms-kill/op")
	_ = d.Cleanup(context.Background(), "b1", "")
}

func BenchmarkExec(b *testing.B) {
	h := newHost(&testing.T{})
	defer func() { _ = os.RemoveAll(h.root) }()
	d, err := New(Options{Root: h.root, Helper: helperPath})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if _, err := d.Start(context.Background(), h.spec("b2")); err != nil {
		b.Fatal(err)
	}
	null, _ := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	defer func() { _ = null.Close() }()
	for b.Loop() {
		c, err := d.Exec(context.Background(), "b2", runtime.ExecRequest{Command: []string{"/bin/true"}, Stdin: null, Stdout: null, Stderr: null})
		if err != nil {
			b.Fatal(err)
		}
		if status, err := c.Wait(); err != nil || status != 0 {
			b.Fatal(status, err)
		}
	}
	_ = d.Cleanup(context.Background(), "b2", "")
}
