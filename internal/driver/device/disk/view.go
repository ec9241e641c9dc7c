package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/spec"
)

// view is how a disk appears inside, and what of it is made on the host first, at hostPath.
type view struct {
	mount spec.Mount
	// block is the block device whose file system is mounted, if it is one.
	block string
	// held is the source of a disk that has to be beneath its project's folders: what was opened there is what is mounted.
	held *os.File
}

func (v *view) close() {
	if v.held != nil {
		_ = v.held.Close()
	}
}

// mountOf is a disk's mount as far as its configuration says it.
func mountOf(inst device.Instance, cfg device.Config) spec.Mount {
	return spec.Mount{
		Source: cfg["source"], Target: target(cfg), Type: "none", Create: "dir", Idmapped: config.IsTrue(cfg["shift"]),
		Options: options(inst, cfg), Optional: !required(cfg),
	}
}

// viewOf is how a disk appears inside; nil for an optional one without its source. A volume is held from then on.
func (m *Module) viewOf(ctx context.Context, inst device.Instance, name string, cfg device.Config) (*view, error) {
	v := &view{mount: mountOf(inst, cfg)}
	if cfg["pool"] != "" {
		volume, err := m.Pools.CustomVolume(cfg["pool"], inst.Project, cfg["source"])
		if err != nil {
			return nil, err
		}
		if v.mount.Source, err = m.Pools.Attach(ctx, user(inst, name), cfg["pool"], inst.Project, cfg["source"]); err != nil {
			return nil, err
		}
		// The files of a volume have plain IDs; every instance sees them through its own map.
		v.mount.Idmapped = !inst.Privileged && !config.IsTrue(volume["security.unmapped"])
	} else if m.confined(inst.Project) {
		if err := checkConfined(cfg); err != nil {
			return nil, err
		}
		var err error
		if v.held, err = ofSource(ctx, m, cfg["source"], func() (*os.File, error) { return m.open(inst.Project, cfg["source"]) }); err != nil {
			return nil, missing(name, cfg, err)
		}
	}
	st, err := ofSource(ctx, m, v.mount.Source, v.stat)
	switch {
	case err != nil:
		v.close()
		return nil, missing(name, cfg, err)
	case isBlock(st):
		v.block = v.mount.Source
		if v.held != nil {
			v.block = fmt.Sprintf("/proc/self/fd/%d", v.held.Fd())
		}
	case !st.IsDir():
		v.mount.Create = "file"
	}
	if v.block != "" || v.held != nil {
		v.mount.Source = hostPath(inst, name)
	}
	return v, nil
}

func (v *view) stat() (os.FileInfo, error) {
	if v.held != nil {
		return v.held.Stat()
	}
	return os.Stat(v.mount.Source)
}

// missing is the error of a disk whose source cannot be had; none if it may be missing.
func missing(name string, cfg device.Config, err error) error {
	if errors.Is(err, os.ErrNotExist) && !required(cfg) {
		return nil
	}
	return fmt.Errorf("source of disk %q: %w", name, err)
}

// checkConfined refuses what a disk beneath a project's folders may not have: with IDs as the host has them root inside would make a program
// there that is root's outside, too; with its mounts passed on it would mount on the host.
func checkConfined(cfg device.Config) error {
	if config.IsTrue(cfg["shift"]) {
		return api.Forbidden(`The "shift" property cannot be used with a restricted source path`)
	}
	if passesMounts(cfg) {
		return api.Forbidden("propagation=%q cannot be used with a restricted source path", cfg["propagation"])
	}
	return nil
}

// passesMounts tells whether later mounts in a disk are seen on the other side.
func passesMounts(cfg device.Config) bool {
	switch cfg["propagation"] {
	case "shared", "slave", "rshared", "rslave":
		return true
	}
	return false
}

// makeOnHost mounts at hostPath what a disk shows, if that is no path of the host that others are kept from changing.
func (m *Module) makeOnHost(ctx context.Context, v *view, inst device.Instance, name string, cfg device.Config) error {
	if v.block == "" && v.held == nil {
		return nil
	}
	if err := unmountDevice(inst, name); err != nil {
		return err
	}
	err := m.mountAt(ctx, v, hostPath(inst, name), cfg)
	if err != nil {
		return errors.Join(fmt.Errorf("Failed mounting disk %q: %w", name, err), unmountDevice(inst, name))
	}
	return nil
}

func (m *Module) mountAt(ctx context.Context, v *view, at string, cfg device.Config) error {
	if v.block == "" {
		return m.bindAt(ctx, v, at, cfg)
	}
	if err := makePoint(at, false); err != nil {
		return err
	}
	flags, data := splitOptions(cfg["raw.mount.options"])
	if config.IsTrue(cfg["readonly"]) {
		flags |= unix.MS_RDONLY
	}
	return mountAny(v.block, at, flags, data)
}

// bindAt binds what was opened, by its descriptor: the path may lead elsewhere by now. The mount is private with all beneath it, as else what
// is unmounted there would go from the host, too.
func (m *Module) bindAt(ctx context.Context, v *view, at string, cfg device.Config) error {
	if err := makePoint(at, v.mount.Create == "file"); err != nil {
		return err
	}
	var all uint
	if config.IsTrue(cfg["recursive"]) {
		all = unix.AT_RECURSIVE
	}
	tree, err := ofSource(ctx, m, cfg["source"], func() (*os.File, error) {
		fd, err := unix.OpenTree(int(v.held.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|all)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), cfg["source"]), nil
	})
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	if err := unix.MountSetattr(int(tree.Fd()), "", unix.AT_EMPTY_PATH|all, &unix.MountAttr{Propagation: unix.MS_PRIVATE}); err != nil {
		return err
	}
	return unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// makePoint makes the file or folder that is mounted over, in a folder that only root gets through: what is mounted there may lie in one, too.
func makePoint(at string, isFile bool) error {
	if !isFile {
		return os.MkdirAll(at, 0o700)
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(at, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
