// Package disk is the device type disk: the root disk, folders and files of the host, file systems on the host's
// block devices, and custom volumes of storage pools.
//
// What appears inside is a mount that the runtime makes, beneath the guest's root and without following its links:
// this package never opens a path inside the guest. Sources are paths of the host that the administrator gave, and
// are resolved as any path on the host is; those that a project is held to some folders with are opened beneath them, and
// what was opened is what is mounted.
package disk

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/bounded"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/spec"
)

// Pools is what disks need of storage pools.
type Pools interface {
	// CheckPool tells whether a pool exists and is usable.
	CheckPool(pool string) error
	// CustomVolume returns the configuration of a custom volume, or api.NotFound.
	CustomVolume(pool, project, name string) (map[string]string, error)
	// Attach makes a custom volume reachable at a path until the same user, a word of the caller's, detaches it. Both are
	// idempotent.
	Attach(ctx context.Context, user, pool, project, name string) (path string, err error)
	Detach(ctx context.Context, user string) error
}

// Module implements device.Module.
type Module struct {
	Pools    Pools
	Projects Projects // nil: disks of the host may be from anywhere

	asked    bounded.Calls // by source
	patience time.Duration // sourceTime, but in tests
}

var (
	_ device.Module     = (*Module)(nil)
	_ device.HotPlugger = (*Module)(nil)
	_ device.Updater    = (*Module)(nil)
	_ device.Checker    = (*Module)(nil)
	_ device.Answerer   = (*Module)(nil)
	_ device.Adopter    = (*Module)(nil)
	_ device.Placer     = (*Module)(nil)
	_ device.Refuser    = (*Module)(nil)
	_ device.Describer  = (*Module)(nil)
)

func isRoot(cfg device.Config) bool { return cfg["path"] == "/" }

// target is the path inside, as spec.Mount wants it.
func target(cfg device.Config) string { return strings.TrimPrefix(path.Clean("/"+cfg["path"]), "/") }

func required(cfg device.Config) bool {
	return !config.IsFalse(cfg["required"]) && !config.IsTrue(cfg["optional"])
}

// Check implements device.Checker: it looks at what may be missing later without making the device's configuration wrong.
func (m *Module) Check(ctx context.Context, inst device.Instance, name string, cfg device.Config) error {
	switch {
	case cfg["pool"] != "":
		if err := m.Pools.CheckPool(cfg["pool"]); err != nil {
			return fmt.Errorf("Failed to get storage pool %q: %w", cfg["pool"], err)
		}
		if isRoot(cfg) {
			return nil
		}
		if _, err := m.Pools.CustomVolume(cfg["pool"], inst.Project, cfg["source"]); err != nil {
			if api.IsNotFound(err) {
				return api.NotFound("Failed loading custom volume: Storage volume not found")
			}
			return fmt.Errorf("Failed loading custom volume: %w", err)
		}
		if cfg["path"] == "" {
			return api.BadRequest("Custom filesystem volumes require a path to be defined")
		}
		return nil
	case isSpecial(cfg["source"]) || cfg["source"] == "" || !required(cfg):
		return nil
	}
	// One that leads out of its project's folders is refused at the start, whether there is something where it leads or not.
	_, err := m.stat(ctx, inst.Project, cfg["source"])
	switch {
	case errors.Is(err, os.ErrNotExist):
		return api.BadRequest("Missing source path %q for disk %q", cfg["source"], name)
	case api.IsUnavailable(err):
		return err
	}
	return ctx.Err()
}

// Start implements device.Module.
func (m *Module) Start(ctx context.Context, inst device.Instance, name string, cfg device.Config, _ map[string]string) (device.Contribution, error) {
	if isRoot(cfg) || isSpecial(cfg["source"]) {
		return device.Contribution{}, nil
	}
	if target(cfg) == "" {
		return device.Contribution{}, api.BadRequest("Disk %q has no path inside the instance", name)
	}
	if err := m.Check(ctx, inst, name, cfg); err != nil {
		return device.Contribution{}, err
	}
	v, err := m.viewOf(ctx, inst, name, cfg)
	if err != nil || v == nil {
		return device.Contribution{}, err
	}
	defer v.close()
	if err := m.makeOnHost(ctx, v, inst, name, cfg); err != nil {
		return device.Contribution{}, err
	}
	return device.Contribution{Mounts: []spec.Mount{v.mount}}, nil
}

// options are the options of the mount inside.
func options(inst device.Instance, cfg device.Config) []string {
	list := []string{"bind"}
	if config.IsTrue(cfg["recursive"]) {
		list = []string{"rbind"}
	}
	if config.IsTrue(cfg["readonly"]) {
		list = append(list, "ro")
	}
	for _, f := range flagsOf(cfg["raw.mount.options"]) {
		if !slices.Contains(list, f) {
			list = append(list, f)
		}
	}
	// Nobody makes nodes in a user namespace, so those that there are came with a volume or from a container with more rights. Where
	// containers are started inside it is left to the device rules, as for the root file system.
	if !inst.Privileged && !config.IsTrue(inst.Config["security.nesting"]) && !slices.Contains(list, "nodev") {
		list = append(list, "nodev")
	}
	if p := cfg["propagation"]; p != "" {
		list = append(list, p)
	}
	return list
}

// user is what a device's hold on a volume is called.
func user(inst device.Instance, name string) string {
	if inst.Slot > 0 {
		return fmt.Sprintf("%s/%s#%d", inst.ID, name, inst.Slot)
	}
	return inst.ID + "/" + name
}

// Stop implements device.Module.
func (m *Module) Stop(ctx context.Context, inst device.Instance, name string, cfg device.Config, _ map[string]string) (map[string]string, error) {
	if isRoot(cfg) {
		return nil, nil
	}
	err := unmountDevice(inst, name)
	if cfg["pool"] != "" {
		err = errors.Join(err, m.Pools.Detach(ctx, user(inst, name)))
	}
	return nil, err
}

// LiveKeys implements device.Updater: the size of the root disk is its volume's, which the instance sees to.
func (m *Module) LiveKeys() []string { return []string{"size", "size.state", "boot.priority"} }

// Update implements device.Updater.
func (m *Module) Update(context.Context, device.Running, device.Instance, string, device.Config, device.Config, map[string]string) error {
	return nil
}

// hostPath is where the file system of a block device, or what is beneath the folders of a project, is mounted on the host while the instance
// runs. Names of devices may
// hold slashes, but no percent signs.
func hostPath(inst device.Instance, name string) string {
	prefix := "disk."
	if inst.Slot > 0 {
		prefix = fmt.Sprintf("disk%d.", inst.Slot)
	}
	return filepath.Join(inst.DevicesPath, prefix+url.PathEscape(name))
}

// unmountDevice undoes makeOnHost. That nothing is mounted is no error.
func unmountDevice(inst device.Instance, name string) error {
	at := hostPath(inst, name)
	for {
		err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err == unix.EINVAL || err == unix.ENOENT {
			break
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", at, err)
		}
	}
	if err := os.Remove(at); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
