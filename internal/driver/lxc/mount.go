package lxc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/lxc/helper"
	"github.com/berthd/berth/internal/securefs"
	"github.com/berthd/berth/internal/spec"
)

// Mount implements instance.Runtime. The mount is made on the host, out of anyone's sight, and then moved to its place
// by a thread that has entered the instance's mount namespace: there a path cannot lead out of the instance, whatever links
// the guest has put in it.
func (d *Driver) Mount(ctx context.Context, id string, m spec.Mount) error {
	i, err := d.initOf(id)
	if err != nil {
		return err
	}
	defer i.release()
	if !fs.ValidPath(m.Target) || m.Target == "." {
		return api.BadRequest("mount target %q is not a path beneath the root", m.Target)
	}
	uid, gid, err := i.owner()
	if err != nil {
		return err
	}
	var ids *os.File
	if m.Idmapped && uid != 0 {
		if ids, err = i.namespace("user"); err != nil {
			return err
		}
		defer func() { _ = ids.Close() }()
	}
	tree, err := d.detached(ctx, m, ids, true)
	if err != nil {
		if m.Optional && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("mount of %s: %w", m.Source, err)
	}
	defer func() { _ = tree.Close() }()
	return inside(ctx, i, func(wanted func() bool) error {
		target, err := openTarget(m, uid, gid)
		if err != nil {
			return fmt.Errorf("mount target %s: %w", m.Target, err)
		}
		defer func() { _ = unix.Close(target) }()
		if !wanted() {
			return errLate
		}
		err = unix.MoveMount(int(tree.Fd()), "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		if err != nil {
			return fmt.Errorf("mount on %s: %w", m.Target, err)
		}
		if err = unbindable(int(tree.Fd()), m); err != nil {
			err = errors.Join(err, unix.Fchdir(int(tree.Fd())), unix.Unmount(".", unix.MNT_DETACH))
		}
		return err
	})
}

// Unmount implements instance.Runtime. That nothing is mounted there is no error.
func (d *Driver) Unmount(ctx context.Context, id string, target string) error {
	i, err := d.initOf(id)
	if err != nil {
		return err
	}
	defer i.release()
	if !fs.ValidPath(target) || target == "." {
		return api.BadRequest("mount target %q is not a path beneath the root", target)
	}
	return inside(ctx, i, func(wanted func() bool) error {
		parent, err := unix.Openat2(unix.AT_FDCWD, path.Dir("/"+target), how(unix.O_PATH|unix.O_DIRECTORY))
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(parent) }()
		if !wanted() {
			return errLate
		}
		// The folder is this thread's own, and the last step follows no link.
		if err := unix.Fchdir(parent); err != nil {
			return err
		}
		err = unix.Unmount(path.Base(target), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil
		}
		return err
	})
}

// Mounted implements instance.Runtime.
func (d *Driver) Mounted(ctx context.Context, id string, target string) (mounted bool, err error) {
	i, err := d.initOf(id)
	if err != nil {
		return false, err
	}
	defer i.release()
	if !fs.ValidPath(target) || target == "." {
		return false, api.BadRequest("mount target %q is not a path beneath the root", target)
	}
	err = inside(ctx, i, func(wanted func() bool) error {
		parent, err := unix.Openat2(unix.AT_FDCWD, path.Dir("/"+target), how(unix.O_PATH|unix.O_DIRECTORY))
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(parent) }()
		var st unix.Statx_t
		err = unix.Statx(parent, path.Base(target), unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, &st)
		if !wanted() {
			return errLate
		}
		mounted = err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
		return err
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		err = nil // there is no such place
	}
	return mounted, err
}

func how(flags int) *unix.OpenHow {
	return &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
}

// openTarget opens where a mount goes, in the mount namespace of the instance, and makes it first where it is asked to:
// as the instance's root, since nobody else has a place in an ID-mapped file system.
func openTarget(m spec.Mount, uid, gid int) (int, error) {
	if m.Create != "" {
		if err := securefs.AsOnThread(uid, gid, func() error { return create(m) }); err != nil {
			return -1, err
		}
	}
	return unix.Openat2(unix.AT_FDCWD, "/"+m.Target, how(unix.O_PATH))
}

func create(m spec.Mount) error {
	dir := "/"
	parts := strings.Split(m.Target, "/")
	for n, part := range parts {
		parent, err := unix.Openat2(unix.AT_FDCWD, dir, how(unix.O_PATH|unix.O_DIRECTORY))
		if err != nil {
			return err
		}
		if n == len(parts)-1 && m.Create == "file" {
			fd, err := unix.Openat(parent, part, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o644)
			if err == nil {
				_ = unix.Close(fd)
			} else if errors.Is(err, unix.EEXIST) {
				err = nil
			}
			_ = unix.Close(parent)
			return err
		}
		err = unix.Mkdirat(parent, part, 0o755)
		_ = unix.Close(parent)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		dir = path.Join(dir, part)
	}
	return nil
}

// AllowDevice implements instance.Runtime.
func (d *Driver) AllowDevice(ctx context.Context, id string, r spec.DeviceRule) error {
	if d.get(id) == nil {
		return errNotRunning
	}
	if done, err := d.payload(id).Device(r.Rule, r.Allow); done || err != nil {
		return err
	}
	if _, v2 := d.deviceRules(); !v2 {
		return nil
	}
	verb := "deny"
	if r.Allow {
		verb = "allow"
	}
	_, err := d.helper.Do(ctx, helper.Call{Args: append(d.call("device", id), verb, r.Rule)})
	return err
}
