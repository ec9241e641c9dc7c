package disk

import (
	"context"
	"encoding/json"

	"github.com/berthd/berth/internal/device"
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
func (m *Module) Look(ctx context.Context, run device.Running, _ device.Instance, _ string, cfg device.Config, _ map[string]string) (json.RawMessage, error) {
	mounted, err := mountedInside(ctx, run, cfg)
	if err != nil {
		return nil, err
	}
	return json.Marshal(seen{Mounted: mounted})
}

// Unplug implements device.HotPlugger.
func (m *Module) Unplug(ctx context.Context, run device.Running, _ device.Instance, _ string, cfg device.Config, _ map[string]string) error {
	mounted, err := mountedInside(ctx, run, cfg)
	if err != nil || !mounted {
		return err
	}
	return run.Unmount(ctx, target(cfg))
}

// Replug implements device.HotPlugger: the host's side is there still.
func (m *Module) Replug(ctx context.Context, run device.Running, inst device.Instance, name string, cfg device.Config,
	_ map[string]string, before json.RawMessage,
) error {
	var was seen
	if err := json.Unmarshal(before, &was); err != nil || !was.Mounted {
		return err
	}
	if mounted, err := mountedInside(ctx, run, cfg); err != nil || mounted {
		return err
	}
	mount, _, ok, err := m.mountOf(ctx, inst, name, cfg)
	if err != nil || !ok {
		return err
	}
	return run.Mount(ctx, mount)
}

// mountedInside tells whether a disk is mounted where it belongs.
func mountedInside(ctx context.Context, run device.Running, cfg device.Config) (bool, error) {
	if isRoot(cfg) || target(cfg) == "" || isSpecial(cfg["source"]) {
		return false, nil
	}
	return run.Mounted(ctx, target(cfg))
}

// Adopt implements device.Adopter: the hold on a volume is in the daemon's memory.
func (m *Module) Adopt(ctx context.Context, inst device.Instance, name string, cfg device.Config, _ map[string]string) error {
	if cfg["pool"] == "" || isRoot(cfg) {
		return nil
	}
	_, err := m.Pools.Attach(ctx, user(inst, name), cfg["pool"], inst.Project, cfg["source"])
	return err
}
