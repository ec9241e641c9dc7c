// Package lxc runs containers with liblxc. What it knows of a running one it can read again from the kernel:
// control groups named after the daemon's folder and the instance say what runs and which processes are whose.
package lxc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/internal/bounded"
	"github.com/berthd/berth/internal/cgroup"
	"github.com/berthd/berth/internal/driver/lxc/helper"
	"github.com/berthd/berth/internal/selinux"
	"github.com/berthd/berth/internal/spec"
)

// Options is what a Driver stands on.
type Options struct {
	// Root is the daemon's folder.
	Root string
	// Helper is the path of berth-lxc; see helper.Find.
	Helper string
	// CoreScheduling tells whether liblxc and the kernel can give a container cores of its own at a time; nil: no.
	CoreScheduling func() bool
	// Network reads the interfaces of an instance's network namespace; hostNames are the host's ends by name inside.
	Network func(ctx context.Context, ns *os.File, hostNames map[string]string) (map[string]api.InstanceStateNetwork, error)
	// AppArmor loads the profiles of containers; nil: they have none.
	AppArmor *apparmor.Host
	Log      *slog.Logger
}

// Driver runs containers. It implements instance.Runtime.
type Driver struct {
	root     string
	tag      string // tells the control groups of daemons with different folders apart
	helper   *helper.Server
	cores    func() bool
	network  func(ctx context.Context, ns *os.File, hostNames map[string]string) (map[string]api.InstanceStateNetwork, error)
	networks bounded.Calls // that are asked for their interfaces
	sources  bounded.Calls // of mounts, that are looked for
	log      *slog.Logger
	cgroups  *cgroup.Host
	watcher  *watcher
	maps     idMaps

	apparmor *apparmor.Host
	selinux  string // context of every container; empty: none

	mu      sync.Mutex
	running map[string]*container
	lost    lost
	renew   func(ctx context.Context, id string, launch func(*spec.Spec) error) error // see OnRestart
}

// New makes the driver; it starts nothing and looks for nothing.
func New(o Options) (*Driver, error) {
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, err
	}
	// Two names of one folder are one daemon.
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	groups, err := cgroup.Probe()
	if err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	w, err := newWatcher()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(root))
	d := &Driver{
		root: root, tag: hex.EncodeToString(sum[:4]), helper: helper.New(o.Helper), network: o.Network, log: o.Log,
		cgroups: groups, watcher: w, running: map[string]*container{}, apparmor: o.AppArmor, selinux: selinux.ContainerContext(),
	}
	d.maps.make, d.cores = d.userns, o.CoreScheduling
	if d.log == nil {
		d.log = slog.Default()
	}
	return d, nil
}

// Close ends the watching. Containers go on.
func (d *Driver) Close() error {
	d.watcher.close()
	err := d.helper.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, c := range d.running {
		c.close()
		delete(d.running, id)
	}
	return err
}

// Prewarm implements instance.Prewarmer and exec.Prewarmer.
func (d *Driver) Prewarm() { d.cgroups.Prewarm() }

// Cgroups is how the host's control groups are laid out: "cgroup", "cgroup2" or "hybrid".
func (d *Driver) Cgroups() *cgroup.Host { return d.cgroups }

// Missing names the limits of c that this host cannot enforce.
func (d *Driver) Missing(c spec.Cgroup) []string {
	_, missing := d.cgroups.Settings(c)
	return missing
}

// Log implements instance.Runtime.
func (d *Driver) Log(id string) string { return d.layoutOf(id).Log }

// ConsoleLog is the path of what the console has shown.
func (d *Driver) ConsoleLog(id string) string { return d.layoutOf(id).Console }

func (d *Driver) payloadPrefix() string { return "lxc.payload." + d.tag + "." }
func (d *Driver) monitorPrefix() string { return "lxc.monitor." + d.tag + "." }
func (d *Driver) lxcPath() string       { return filepath.Join(d.root, "run", "lxc") }
func (d *Driver) payload(id string) cgroup.Group {
	return d.cgroups.Group(d.payloadPrefix() + id)
}
func (d *Driver) monitor(id string) cgroup.Group {
	return d.cgroups.Group(d.monitorPrefix() + id)
}

func (d *Driver) get(id string) *container {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running[id]
}

// errNotRunning is what clients of LXD see.
var errNotRunning = api.BadRequest("Instance is not running")

// initOf is the first process of an instance that runs, for the caller to release.
func (d *Driver) initOf(id string) (*initProcess, error) {
	if c := d.get(id); c != nil {
		if i := c.hold(); i != nil {
			return i, nil
		}
	}
	return nil, d.absent(id)
}

// Status implements instance.Runtime.
func (d *Driver) Status(id string) api.StatusCode {
	c := d.get(id)
	switch {
	case c == nil && d.missing(id) != nil:
		return api.StatusError
	case c == nil || c.ended():
		return api.Stopped
	case c.frozen.Load():
		return api.Frozen
	}
	return api.Running
}

// Root implements instance.Runtime.
func (d *Driver) Root(id string) (*os.File, error) {
	i, err := d.initOf(id)
	if err != nil {
		return nil, err
	}
	defer i.release()
	return i.root()
}

// NetworkNamespace implements instance.Runtime.
func (d *Driver) NetworkNamespace(id string) (*os.File, error) {
	i, err := d.initOf(id)
	if err != nil {
		return nil, err
	}
	defer i.release()
	return i.namespace("net")
}

// freezeTime bounds how long the processes of a container may take to stand still. One that waits for a file system of the guest's own, by FUSE,
// does not before that answers.
var freezeTime = 30 * time.Second

// errEnding says that a container was not frozen because somebody wants its end.
var errEnding = errors.New("the instance is being stopped")

// Freeze implements instance.Runtime.
func (d *Driver) Freeze(ctx context.Context, id string) error {
	c := d.get(id)
	if c == nil {
		return d.absent(id)
	}
	freezing, giveUp := context.WithTimeout(ctx, freezeTime)
	defer giveUp()
	c.freezing.Store(&giveUp)
	defer c.freezing.CompareAndSwap(&giveUp, nil)
	if c.ending.Load() > 0 {
		return fmt.Errorf("freezing: %w", errEnding)
	}
	err := d.payload(id).Freeze(freezing)
	if err == nil {
		c.frozen.Store(true)
	}
	// Whoever wants the end asks whether it is frozen after having said so: what they cannot have seen is taken back here.
	if c.ending.Load() > 0 {
		err = errEnding
	}
	if err == nil {
		return nil
	}
	thawing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := d.payload(id).Thaw(thawing); err == nil {
		c.frozen.Store(false)
	} else if !errors.Is(err, os.ErrNotExist) {
		d.log.Error("a container that cannot be frozen", "instance", id, "err", err)
	}
	return fmt.Errorf("freezing: %w", err)
}

// Thaw implements instance.Runtime.
func (d *Driver) Thaw(ctx context.Context, id string) error {
	c := d.get(id)
	if c == nil {
		return d.absent(id)
	}
	if err := d.payload(id).Thaw(ctx); err != nil {
		return fmt.Errorf("thawing: %w", err)
	}
	c.frozen.Store(false)
	return nil
}

// Limits implements instance.Runtime.
func (d *Driver) Limits(_ context.Context, id string, before, after spec.Cgroup) error {
	if d.get(id) == nil {
		return d.absent(id)
	}
	return d.payload(id).Write(d.cgroups.Changes(before, after))
}

// LookLimits implements instance.Runtime.
func (d *Driver) LookLimits(id string, before, after spec.Cgroup) (json.RawMessage, error) {
	if d.get(id) == nil {
		return nil, d.absent(id)
	}
	seen, err := d.payload(id).Look(d.cgroups.Changes(before, after))
	if err != nil {
		return nil, err
	}
	return json.Marshal(seen)
}

// RestoreLimits implements instance.Runtime.
func (d *Driver) RestoreLimits(_ context.Context, id string, seen json.RawMessage) error {
	if d.get(id) == nil {
		return d.absent(id)
	}
	var settings []cgroup.Setting
	if err := json.Unmarshal(seen, &settings); err != nil {
		return fmt.Errorf("limits of %s: %w", id, err)
	}
	return d.payload(id).Write(settings)
}

// CPUs implements instance.Runtime.
func (d *Driver) CPUs(_ context.Context, id, set string) error {
	if d.get(id) == nil {
		return errNotRunning
	}
	return d.payload(id).SetCPUs(set)
}
