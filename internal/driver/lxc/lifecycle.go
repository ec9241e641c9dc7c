package lxc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/internal/cgroup"
	"github.com/berthd/berth/internal/driver/lxc/helper"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/runtime"
	"github.com/berthd/berth/internal/spec"
)

var (
	afterConfig = fault.New("lxc.start.config")
	afterStart  = fault.New("lxc.start.started")
)

// Start implements instance.Runtime.
func (d *Driver) Start(ctx context.Context, s *spec.Spec) (runtime.Process, error) {
	if d.get(s.ID) != nil {
		return runtime.Process{}, api.BadRequest("The instance is already running")
	}
	if err := d.missing(s.ID); err != nil { // what may run is not started over
		return runtime.Process{}, errLost(err)
	}
	l := d.layoutOf(s.ID)
	if d.payload(s.ID).Exists() || d.monitor(s.ID).Exists() {
		if err := d.Cleanup(ctx, s.ID, s.UUID); err != nil {
			return runtime.Process{}, fmt.Errorf("clearing what an earlier run left: %w", err)
		}
	}
	if err := d.prepare(ctx, s, l); err != nil {
		return runtime.Process{}, err
	}
	if err := afterConfig.Hit(); err != nil {
		return runtime.Process{}, errors.Join(err, d.undo(s))
	}
	c, err := d.launch(ctx, s.ID, l)
	if err == nil {
		err = errors.Join(d.register(c), afterStart.Hit())
	}
	if err != nil {
		return runtime.Process{}, errors.Join(err, d.undo(s))
	}
	return c.process(), nil
}

// undoTime bounds the clearing away of a start that failed.
const undoTime = 30 * time.Second

func (d *Driver) undo(s *spec.Spec) error {
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	return d.Cleanup(ctx, s.ID, s.UUID)
}

// prepare writes the files that liblxc reads.
func (d *Driver) prepare(ctx context.Context, s *spec.Spec, l layout) error {
	_, devicesV2 := d.deviceRules()
	mounts, err := resolveMounts(s.RootFS.Path, s.Mounts)
	if err != nil {
		return err
	}
	placed := *s
	placed.Mounts, s = mounts, &placed
	label, err := d.confine(ctx, s.ID, s.Confinement())
	if err != nil {
		return err
	}
	text, err := render(s, l, facts{
		AppArmor: label, SELinux: d.selinux,
		CoreScheduling: d.cores != nil && d.cores(),
		Exists:         func(p string) bool { _, err := os.Stat(p); return err == nil },
		Limits: func(c spec.Cgroup) []cgroup.Setting {
			set, missing := d.cgroups.Settings(c)
			if len(missing) > 0 {
				d.log.Warn("this host cannot enforce every limit", "instance", s.ID, "limits", missing)
			}
			return set
		},
		Devices: d.cgroups.Has("devices") || devicesV2, DevicesV2: devicesV2,
	})
	if err != nil {
		return err
	}
	if err := d.passable(); err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(l.Log), filepath.Dir(l.Restart), filepath.Dir(l.Plan)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := os.Remove(l.Restart); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(l.Log, l.Log+".old"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if s.Seccomp != "" {
		if err := os.MkdirAll(filepath.Dir(l.Seccomp), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(l.Seccomp, []byte(s.Seccomp), 0o600); err != nil {
			return err
		}
	}
	ready, err := json.Marshal(planOf(s))
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(l.Plan, ready, 0o600), os.WriteFile(l.Config, []byte(text), 0o640))
}

// passable makes the folders that a container's root walks through to its own: it needs to pass, not to look.
func (d *Driver) passable() error {
	for _, dir := range []string{d.root, filepath.Join(d.root, "run"), d.lxcPath(), d.stageRoot()} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
	}
	return nil
}

func (d *Driver) deviceRules() (v1, v2 bool) {
	v2 = d.cgroups.Unified()
	return !v2 && d.cgroups.Has("devices"), v2
}

// launch runs the helper with the configuration that is in place.
func (d *Driver) launch(ctx context.Context, id string, l layout) (*container, error) {
	// The lock tells a daemon that has just started that one before it is in the middle of a start.
	lock, err := d.lock(ctx, id, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }()
	p, err := readPlan(l)
	if err != nil {
		return nil, err
	}
	if err := d.stage(ctx, id, l, p); err != nil {
		return nil, fmt.Errorf("Failed to start instance: %w", err) // as LXD's texts
	}
	defer func() {
		if err := unstage(l.Stage); err != nil {
			d.log.Error("mounts for the start are left", "instance", id, "err", err)
		}
	}()
	// The lock is held by the process of the call too, for as long as it runs. So that process is who writes the identity down: the
	// end of this daemon does not keep it from that, and the next daemon waits for it.
	if _, err := d.helper.Do(ctx, helper.Call{Args: append(d.call("start", id), d.identity(id, p.UUID)...), Lock: lock}); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, d.startError(l, err)
	}
	c, err := d.open(id)
	if err != nil {
		return nil, d.startError(l, fmt.Errorf("the instance ended at once: %w", err))
	}
	c.uuid = p.UUID
	return c, nil
}

// identity is what the helper needs to know to mark the control groups of a start.
func (d *Driver) identity(id, uuid string) []string {
	payload, monitor := d.payload(id).Folder(), d.monitor(id).Folder()
	if uuid == "" || payload == "" {
		return nil
	}
	return []string{cgroup.Identity, uuid, payload, monitor}
}

// startError says why liblxc gave up: the errors in its log, the last of which is the least telling.
func (d *Driver) startError(l layout, err error) error {
	causes := logErrors(l.Log)
	if len(causes) == 0 {
		return fmt.Errorf("Failed to start instance: %w", err) // as LXD's texts
	}
	return fmt.Errorf("Failed to start instance: %s", strings.Join(causes, "; ")) // as LXD's texts
}

// Bounds of what is read of a log and shown of it.
const (
	maxLog    = 64 << 10
	maxCauses = 3
)

// logErrors are the first messages of level ERROR in a log of liblxc, without time and place.
func logErrors(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	raw, _ := io.ReadAll(io.LimitReader(f, maxLog))
	var out []string
	for line := range strings.Lines(string(raw)) {
		// lxc NAME TIME ERROR    FILE - PATH:FUNCTION:LINE - MESSAGE
		if _, rest, ok := strings.Cut(line, " ERROR "); ok {
			if parts := strings.SplitN(rest, " - ", 3); len(parts) == 3 && len(out) < maxCauses {
				out = append(out, strings.TrimSpace(parts[2]))
			}
		}
	}
	return out
}

// open finds the container that runs under an ID.
func (d *Driver) open(id string) (*container, error) {
	group := d.monitor(id)
	pids, err := group.TopProcs()
	if err != nil {
		return nil, err
	}
	var failed error
	for _, pid := range pids {
		c, err := openContainer(id, pid, func(pid int) bool {
			again, err := group.TopProcs()
			return err == nil && contains(again, pid)
		})
		if err != nil {
			if !errors.Is(err, unix.ESRCH) { // it has not ended
				failed = errors.Join(failed, err)
			}
			continue
		}
		if c.first == nil {
			c.close()
			continue
		}
		frozen, _ := d.payload(id).Frozen()
		c.frozen.Store(frozen)
		return c, nil
	}
	if failed != nil {
		return nil, failed
	}
	return nil, fmt.Errorf("no monitor of %s: %w", id, unix.ESRCH)
}

func contains(list []int, n int) bool {
	for _, v := range list {
		if v == n {
			return true
		}
	}
	return false
}

// register has the driver know a container, and watch it.
func (d *Driver) register(c *container) error {
	d.mu.Lock()
	if have := d.running[c.id]; have != nil {
		d.mu.Unlock()
		c.close()
		return nil
	}
	d.running[c.id] = c
	d.mu.Unlock()
	return d.watch(c)
}

func (d *Driver) watch(c *container) error {
	return d.watcher.add(c.monitor.Load().fd, func() {
		if d.wantsRestart(c.id) && c.ending.Load() == 0 {
			err := d.restart(c)
			if err == nil {
				return
			}
			d.log.Error("restart from inside failed", "instance", c.id, "err", err)
		}
		d.mu.Lock()
		if d.running[c.id] == c {
			delete(d.running, c.id)
		}
		d.mu.Unlock()
		c.leave()
		c.close()
	})
}

// Watch implements instance.Runtime.
func (d *Driver) Watch(id string, exited func()) {
	if c := d.get(id); c == nil || !c.afterExit(exited) {
		go exited()
	}
}

// Shutdown implements instance.Runtime.
func (d *Driver) Shutdown(ctx context.Context, id string) error {
	c := d.get(id)
	if c == nil {
		return d.checkNotLost(id)
	}
	defer c.wantEnd()()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		sure, err := c.halt()
		if err != nil {
			return fmt.Errorf("signalling init: %w", err)
		}
		if sure {
			pause = max(pause, surePause)
		}
		select {
		case <-c.gone:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// Pauses between signals to an init that may not have taken the one before: nothing tells when it begins to. One that seems
// to is left in peace for longer.
const (
	firstPause = 10 * time.Millisecond
	surePause  = time.Second
	lastPause  = 10 * time.Second
)

// haltSignal is what init takes for "halt": SIGRTMIN+3 where it handles that or has it blocked to wait for it (systemd), SIGPWR
// otherwise. It is sure if init handles or blocks it. If not, as in init's first instants, the kernel drops it, or init is in
// sigtimedwait, which shows nothing (busybox): then it may be sent again. It is 0 if it would certainly be lost.
func haltSignal(pid int) (sig unix.Signal, sure bool) {
	const rtmin3 = 34 + 3 // SIGRTMIN as the C libraries count
	blocked, caught := signals(pid, "SigBlk:"), signals(pid, "SigCgt:")
	if has(blocked, unix.SIGSEGV) {
		return 0, false // all are, for an instant, by the C library: that says nothing of what init waits for
	}
	for _, sig := range []unix.Signal{rtmin3, unix.SIGPWR} {
		if has(blocked|caught, sig) {
			return sig, true
		}
	}
	return unix.SIGPWR, false
}

// signals is a set of signals of /proc/PID/status.
func signals(pid int, key string) uint64 {
	set, err := strconv.ParseUint(statusLine(pid, key), 16, 64)
	if err != nil {
		return 0
	}
	return set
}

func has(set uint64, sig unix.Signal) bool { return set&(1<<(sig-1)) != 0 }

// Kill implements instance.Runtime.
func (d *Driver) Kill(ctx context.Context, id string) error {
	c := d.get(id)
	if c == nil {
		return d.checkNotLost(id)
	}
	defer c.wantEnd()()
	monitor, first, err := c.pidfds()
	if errors.Is(err, unix.ESRCH) {
		return c.wait(ctx)
	}
	if err != nil {
		return err
	}
	defer func() { _ = closeAll(monitor) }()
	// The monitor first: what it does at the end of a run, control groups and the hook of a restart from inside with its
	// shell, Cleanup does in fewer steps or nobody needs now.
	if err := kill(monitor); err != nil {
		return errors.Join(fmt.Errorf("killing the monitor: %w", err), closeAll(first))
	}
	ended, err := d.end(first)
	if err != nil {
		return fmt.Errorf("killing init: %w", err)
	}
	if c.frozen.Load() {
		// In cgroup v1 a frozen process cannot even die. That the monitor has gone, and the container with it as far as the
		// driver is concerned, does not thaw it.
		if err := d.payload(id).Thaw(ctx); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("thawing: %w", err)
		}
	}
	if err := d.awaitEnd(ctx, id, ended); err != nil {
		return err
	}
	return c.wait(ctx)
}

// dieTime is how long processes that are killed may take before it is seen to that nothing keeps them.
const dieTime = 50 * time.Millisecond

// awaitEnd waits for an init that was killed, and its PID namespace with it. In cgroup v1 the guest can keep that from its end by a process in a
// frozen group of its own.
func (d *Driver) awaitEnd(ctx context.Context, id string, ended <-chan struct{}) error {
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(dieTime):
	}
	if err := d.payload(id).Kill(ctx); err != nil {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end kills an init, and with it its whole PID namespace, and closes its descriptor, which may be -1, when all of it has
// ended. So it does the channel.
func (d *Driver) end(pidfd int) (<-chan struct{}, error) {
	ended := make(chan struct{})
	if pidfd < 0 {
		close(ended)
		return ended, nil
	}
	err := kill(pidfd)
	if err == nil {
		err = d.watcher.add(pidfd, func() {
			_ = unix.Close(pidfd)
			close(ended)
		})
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(pidfd))
	}
	return ended, nil
}

// Cleanup implements instance.Runtime.
func (d *Driver) Cleanup(ctx context.Context, id, uuid string) error {
	lock, err := d.lock(ctx, id, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	// Groups of another's in which nothing runs are in the way of this one, and nobody misses them.
	if _, err := d.checkIdentity(id, func(string) (string, bool) { return uuid, true }); err != nil && !d.empty(id) {
		return errLost(err)
	}
	if c := d.get(id); c != nil {
		defer c.wantEnd()()
	}
	if err := d.payload(id).Kill(ctx); err != nil {
		return err
	}
	if c := d.get(id); c != nil {
		bounded, cancel := context.WithTimeout(ctx, monitorTime)
		_ = c.wait(bounded) // if it does not end by itself it is ended next
		cancel()
	}
	if err := d.monitor(id).Kill(ctx); err != nil {
		return err
	}
	if c := d.get(id); c != nil {
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
	d.lost.forget(id) // whatever it was that could not be taken over, nothing of it runs any more
	l := d.layoutOf(id)
	errs := []error{
		unstage(l.Stage), d.payload(id).Remove(), d.monitor(id).Remove(), d.cgroups.Group(l.Pivot).Remove(),
		d.apparmor.Unload(apparmor.Instance, id),
	}
	for _, path := range []string{l.Seccomp, l.Restart, l.Plan, d.stillMark(id), lock.Name()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// monitorTime is how long a monitor may take to end after its container has.
const monitorTime = 5 * time.Second

// call is the beginning of every call of the helper: a verb and whom it is for.
func (d *Driver) call(verb, id string) []string {
	return []string{verb, d.lxcPath(), id, d.layoutOf(id).Config}
}

// CheckRaw implements instance.RawChecker: liblxc itself reads the configuration.
func (d *Driver) CheckRaw(ctx context.Context, raw string) error {
	fd, err := unix.MemfdCreate("raw.lxc", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "raw.lxc")
	defer file.Close()
	c := &conf{}
	renderRaw(c, &spec.Spec{RawLXC: raw})
	if c.err != nil {
		return c.err
	}
	if _, err := file.WriteString(c.String()); err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	_, err = d.helper.Do(ctx, helper.Call{
		Args:  []string{"check", d.lxcPath(), "check", "/proc/self/fd/0"},
		Stdio: [3]*os.File{file, null, null},
	})
	if refused := new(helper.Refusal); errors.As(err, &refused) {
		return api.BadRequest("Failed to load raw.lxc: liblxc refuses it")
	}
	return err
}
