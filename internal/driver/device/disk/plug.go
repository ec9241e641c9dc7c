package disk

import (
	"context"
	"encoding/json"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/spec"
)

// seen is what Look says of a disk.
type seen struct {
	// Mounted is false for an optional disk without its source, and for one that the guest has unmounted itself.
	Mounted bool `json:"mounted"`
}

// Plug implements device.HotPlugger.
func (m *Module) Plug(ctx context.Context, run device.Running, _ device.Instance, _ string, _ device.Config, c device.Contribution) error {
	for n, mount := range c.Mounts {
		err := run.Mount(ctx, mount)
		switch {
		case err != nil && n == 0:
			return &device.NotPlugged{Err: err}
		case err != nil:
			return err
		}
	}
	return nil
}

// Look implements device.HotPlugger.
func (m *Module) Look(ctx context.Context, run device.Running, inst device.Instance, name string, cfg device.Config, _ map[string]string) (json.RawMessage, error) {
	mounted, err := m.mountedInside(ctx, run, inst, name, cfg)
	if err != nil {
		return nil, err
	}
	return json.Marshal(seen{Mounted: mounted})
}

// Unplug implements device.HotPlugger.
func (m *Module) Unplug(ctx context.Context, run device.Running, inst device.Instance, name string, cfg device.Config, _ map[string]string) error {
	if m.Place(cfg) == "" {
		return nil
	}
	return run.Unmount(ctx, m.shows(ctx, inst, name, cfg), others(inst, name, cfg))
}

// Replug implements device.HotPlugger: the host's side is there still.
func (m *Module) Replug(ctx context.Context, run device.Running, inst device.Instance, name string, cfg device.Config,
	_ map[string]string, before json.RawMessage,
) error {
	var was seen
	if err := json.Unmarshal(before, &was); err != nil || !was.Mounted {
		return err
	}
	if mounted, err := m.mountedInside(ctx, run, inst, name, cfg); err != nil || mounted {
		return err
	}
	if mount, ok := onHost(inst, name, cfg); ok {
		return run.Mount(ctx, mount)
	}
	v, err := m.viewOf(ctx, inst, name, cfg)
	if err != nil || v == nil {
		return err
	}
	defer v.close()
	return run.Mount(ctx, v.mount)
}

// Place implements device.Placer.
func (m *Module) Place(cfg device.Config) string {
	if isRoot(cfg) || isSpecial(cfg["source"]) {
		return ""
	}
	return target(cfg)
}

// mountedInside tells whether a disk is mounted inside.
func (m *Module) mountedInside(ctx context.Context, run device.Running, inst device.Instance, name string, cfg device.Config) (bool, error) {
	if m.Place(cfg) == "" {
		return false, nil
	}
	return run.Mounted(ctx, m.shows(ctx, inst, name, cfg), others(inst, name, cfg))
}

// shows is what a disk is known by inside: its source, as far as that is there, and its path.
func (m *Module) shows(ctx context.Context, inst device.Instance, name string, cfg device.Config) spec.Mount {
	if mount, ok := onHost(inst, name, cfg); ok {
		return mount
	}
	if v, err := m.viewOf(ctx, inst, name, cfg); err == nil && v != nil {
		v.close()
		return v.mount
	}
	return spec.Mount{Source: cfg["source"], Target: target(cfg)}
}

// onHost is the mount of a disk of which something is made on the host: that is there as long as the disk is, whatever becomes of its source.
func onHost(inst device.Instance, name string, cfg device.Config) (mount spec.Mount, ok bool) {
	at := hostPath(inst, name)
	var st unix.Statx_t // as the kernel has it in memory: what is mounted there may be on a disk or a server that hangs
	if err := unix.Statx(unix.AT_FDCWD, at, unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st); err != nil {
		return mount, false
	}
	mount = mountOf(inst, cfg)
	mount.Source = at
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		mount.Create = "file"
	}
	return mount, true
}

// others are the paths of the instance's other disks of the same source.
func others(inst device.Instance, name string, cfg device.Config) []string {
	var list []string
	for other, c := range inst.Devices {
		if other != name && c["type"] == "disk" && c["pool"] == cfg["pool"] && c["source"] == cfg["source"] && !isRoot(c) {
			list = append(list, target(c))
		}
	}
	return list
}

// Adopt implements device.Adopter: the hold on a volume is in the daemon's memory.
func (m *Module) Adopt(ctx context.Context, inst device.Instance, name string, cfg device.Config, _ map[string]string) error {
	if cfg["pool"] == "" || isRoot(cfg) {
		return nil
	}
	_, err := m.Pools.Attach(ctx, user(inst, name), cfg["pool"], inst.Project, cfg["source"])
	return err
}
