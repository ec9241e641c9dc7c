package lxc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	goruntime "runtime"
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
	return inside(i, func() error {
		target, err := openTarget(m, uid, gid)
		if err != nil {
			return fmt.Errorf("mount target %s: %w", m.Target, err)
		}
		defer func() { _ = unix.Close(target) }()
		err = unix.MoveMount(int(tree.Fd()), "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		if err != nil {
			return fmt.Errorf("mount on %s: %w", m.Target, err)
		}
		return unbindable(int(tree.Fd()), m)
	})
}

// Unmount implements instance.Runtime. That nothing is mounted there is no error.
func (d *Driver) Unmount(_ context.Context, id string, target string) error {
	i, err := d.initOf(id)
	if err != nil {
		return err
	}
	defer i.release()
	if !fs.ValidPath(target) || target == "." {
		return api.BadRequest("mount target %q is not a path beneath the root", target)
	}
	return inside(i, func() error {
		parent, err := unix.Openat2(unix.AT_FDCWD, path.Dir("/"+target), how(unix.O_PATH|unix.O_DIRECTORY))
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(parent) }()
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
func (d *Driver) Mounted(_ context.Context, id string, target string) (mounted bool, err error) {
	i, err := d.initOf(id)
	if err != nil {
		return false, err
	}
	if !fs.ValidPath(target) || target == "." {
		return false, api.BadRequest("mount target %q is not a path beneath the root", target)
	}
	err = inside(i, func() error {
		parent, err := unix.Openat2(unix.AT_FDCWD, path.Dir("/"+target), how(unix.O_PATH|unix.O_DIRECTORY))
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(parent) }()
		var st unix.Statx_t
		err = unix.Statx(parent, path.Base(target), unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, &st)
		mounted = err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
		return err
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		err = nil
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

// inside runs f on a thread that is in the instance's mount namespace, and lets the thread end with it. The init must be held.
func inside(i *initProcess, f func() error) error {
	done := make(chan error, 1)
	go func() {
		goruntime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread does not end, and /proc/self is what it sees: another one must go. It is another while
			// this one is locked.
			done <- inside(i, f)
			goruntime.UnlockOSThread()
			return
		}
		// Never unlocked from here on: the thread is of no use to anyone else.
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Setns(i.fd, unix.CLONE_NEWNS)
		}
		if err != nil {
			done <- fmt.Errorf("entering the instance: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
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
