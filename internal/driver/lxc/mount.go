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
	if err := validTarget(m.Target); err != nil {
		return err
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

// stack bounds how many times over one source is found in an instance that is to lose it.
const stack = 64

// Unmount implements instance.Runtime. What goes is the mount of that source, wherever the guest's links lead by now and wherever it has moved it,
// and any other mount of it that the guest has made, in its first mount namespace or in one of its own (nested.go). Only of a source that cannot be identified, as it is gone, does the
// place count. That there is none is no error.
func (d *Driver) Unmount(ctx context.Context, id string, m spec.Mount, others []string) error {
	i, err := d.initOf(id)
	if err != nil {
		return err
	}
	defer i.release()
	if err := validTarget(m.Target); err != nil {
		return err
	}
	from, err := d.originOf(ctx, m.Source)
	if err != nil {
		return err
	}
	gone := departed{mount: m, from: from, others: others}
	if err := gone.look(ctx, i); err != nil {
		return err
	}
	if err := unmountAll(ctx, i, m.Source, func() ([]int, error) { return topsOf(from, m.Target, others) }); err != nil {
		return err
	}
	return d.unmountNested(ctx, id, i, gone)
}

// unmountAll takes mounts of a source out of a mount namespace, until there is none that tops, which is called within it, opens.
func unmountAll(ctx context.Context, i *initProcess, source string, tops func() ([]int, error)) error {
	for range stack { // one may lie beneath another
		left := 0
		err := inside(ctx, i, func(wanted func() bool) error {
			fds, err := tops()
			if err != nil {
				return err
			}
			defer func() { _ = closeAll(fds...) }()
			if !wanted() {
				return errLate
			}
			left = len(fds)
			return unmountTops(fds)
		})
		if err != nil || left == 0 {
			return err
		}
	}
	return fmt.Errorf("%s is mounted inside the instance more than %d times", source, stack)
}

// topsOf opens the mounts of a source that can be reached; none if there are none.
func topsOf(from origin, target string, others []string) ([]int, error) {
	if from == (origin{}) {
		return reachPlace(target)
	}
	mounts, err := shown(from, others)
	if err != nil {
		return nil, err
	}
	return reach(mounts)
}

// Mounted implements instance.Runtime.
func (d *Driver) Mounted(ctx context.Context, id string, m spec.Mount, others []string) (mounted bool, err error) {
	i, err := d.initOf(id)
	if err != nil {
		return false, err
	}
	defer i.release()
	if err := validTarget(m.Target); err != nil {
		return false, err
	}
	from, err := d.originOf(ctx, m.Source)
	if err != nil {
		return false, err
	}
	err = inside(ctx, i, func(wanted func() bool) error {
		found := false
		if from == (origin{}) {
			tops, err := reachPlace(m.Target)
			if err != nil {
				return err
			}
			found = len(tops) > 0
			_ = closeAll(tops...)
		} else {
			mounts, err := shown(from, others)
			if err != nil {
				return err
			}
			found = len(mounts) > 0
		}
		if !wanted() {
			return errLate
		}
		mounted = found
		return nil
	})
	return mounted, err
}

func validTarget(target string) error {
	if !fs.ValidPath(target) || target == "." {
		return api.BadRequest("mount target %q is not a path beneath the root", target)
	}
	return nil
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
