// Package machine runs throw-away virtual machines for tests that the host's kernel cannot run: QEMU without KVM, with the image that
// test/lab/image makes.
package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Config says what machines are made of.
type Config struct {
	Dir    string // folder of the image; those of the machines lie in its "run"
	Tree   string // folder of the host that the guest sees, read-only, under the same path
	Memory int    // MiB
	CPUs   int
	Init   string // the guest's process 1; "" is the lab's own, which is up soonest
}

// Machine is one running guest. All its changes are lost when it ends.
type Machine struct {
	Config
	Name string

	lock *os.File
	qemu *process
}

// ErrNoImage: the image was not built yet.
var ErrNoImage = errors.New("there is no image of the lab's guest: run test/lab/image/build.sh (or make lab)")

// keep marks a machine that outlives the process that started it.
const keep = "keep"

func (c Config) runDir() string { return filepath.Join(c.Dir, "run") }

func (m *Machine) path(name string) string { return filepath.Join(m.runDir(), m.Name, name) }

// Share is the folder on the host that the guest sees, read and write, as /lab.
func (m *Machine) Share() string { return m.path("share") }

// ZFS says whether the image has ZFS: "yes" or "no".
func (c Config) ZFS() string {
	data, _ := os.ReadFile(filepath.Join(c.Dir, "zfs"))
	return strings.TrimSpace(string(data))
}

// Start starts a machine: from the saved state, where there is one, else by a boot. A machine that is not kept ends with Stop or, if this process
// is killed, by the next Sweep.
func Start(ctx context.Context, c Config, name string, kept bool) (*Machine, error) {
	if _, err := os.Stat(filepath.Join(c.Dir, "base.qcow2")); err != nil {
		return nil, ErrNoImage
	}
	state := c.state(ctx)
	if _, err := os.Stat(filepath.Join(state, "memory")); err != nil || c.Init != "" {
		return start(ctx, c, name, kept, filepath.Join(c.Dir, "base.qcow2"), "")
	}
	return start(ctx, c, name, kept, filepath.Join(state, "disk.qcow2"), filepath.Join(state, "memory"))
}

// start runs QEMU on an overlay of the disk and waits until the guest takes jobs.
func start(ctx context.Context, c Config, name string, kept bool, disk, memory string) (*Machine, error) {
	m := &Machine{Config: c, Name: name}
	if err := m.claim(kept); err != nil {
		return nil, err
	}
	err := m.create(ctx, disk)
	if err == nil {
		err = m.boot(ctx, memory)
	}
	if err != nil {
		return nil, errors.Join(err, m.Stop())
	}
	return m, nil
}

// claim makes the machine's folder and takes its lock.
func (m *Machine) claim(kept bool) error {
	unlock, err := m.alone()
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.Mkdir(m.path(""), 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("machine %q runs already", m.Name)
		}
		return err
	}
	if err := m.fill(kept); err != nil {
		return errors.Join(err, m.Stop())
	}
	return nil
}

// alone holds off others that make or sweep machines: a folder whose lock is not yet taken looks like one that was left.
func (c Config) alone() (unlock func(), err error) {
	if err := os.MkdirAll(c.runDir(), 0o700); err != nil {
		return nil, err
	}
	dir, err := os.Open(c.runDir())
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return func() { _ = dir.Close() }, nil
}

func (m *Machine) fill(kept bool) error {
	lock, err := os.Create(m.path("lock"))
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return fmt.Errorf("machine %q: %w", m.Name, err)
	}
	m.lock = lock
	if kept {
		if err := os.WriteFile(m.path(keep), nil, 0o600); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(m.Share(), "jobs"), 0o755)
}

// Prepare does what every new machine needs before its first real job: the host's tree at its place, and the time, as a restored machine's clock
// stands where it was saved.
func (m *Machine) Prepare(ctx context.Context) error {
	script := fmt.Sprintf("date -s @%d > /dev/null\n", time.Now().Unix()) + m.mountTree()
	var out strings.Builder
	status, err := m.Run(ctx, script, Streams{Stdout: &out, Stderr: &out})
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("the guest cannot be prepared: status %d: %s", status, out.String())
	}
	return nil
}

// mountTree mounts the tree anew: a share that was mounted before may show a file's old content.
func (m *Machine) mountTree() string {
	return fmt.Sprintf("tree=%s\nmkdir -p \"$tree\"\nwhile mountpoint -q \"$tree\"; do umount -l \"$tree\" || exit; done\n"+
		"mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,ro,cache=loose tree \"$tree\"\n", Quote(m.Tree))
}

// Attach finds a machine that is kept.
func Attach(c Config, name string) (*Machine, error) {
	m := &Machine{Config: c, Name: name}
	if _, err := os.Stat(m.path(keep)); err != nil {
		return nil, fmt.Errorf("no machine %q is kept running: lab up", name)
	}
	qemu, err := findProcess(m.path("pid"), m.path(""))
	if err != nil {
		return nil, fmt.Errorf("machine %q: %w", name, err)
	}
	m.qemu = qemu
	return m, nil
}

// CPU is the host's time of processors that the machine has taken: on a busy host it says more than the clock.
func (m *Machine) CPU() time.Duration { return m.qemu.cpu() }

// Boot starts the machine again after its guest has powered it off; Prepare comes next.
func (m *Machine) Boot(ctx context.Context) error { return m.boot(ctx, "") }

// AwaitOff waits until the guest has powered the machine off. What its disk holds stays.
func (m *Machine) AwaitOff(ctx context.Context) error {
	select {
	case <-m.qemu.done:
		m.qemu.close()
		m.qemu = nil
		return nil
	case <-ctx.Done():
		return m.explain(fmt.Errorf("the guest does not power off: %w", context.Cause(ctx)))
	}
}

// Stop ends the machine and removes its folder.
func (m *Machine) Stop() error {
	var err error
	if m.qemu != nil {
		err = m.qemu.end()
		m.qemu = nil
	}
	if err == nil {
		err = os.RemoveAll(m.path(""))
	}
	if m.lock != nil {
		_ = m.lock.Close()
		m.lock = nil
	}
	return err
}

// Quote makes one word of a shell's script of it.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
