package lxc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/spec"
)

// Resolve implements instance.Runtime.
func (d *Driver) Resolve(ctx context.Context, id string, targets []string) (places []string, err error) {
	i, err := d.initOf(id)
	if err != nil {
		return nil, err
	}
	defer i.release()
	err = inside(ctx, i, func(wanted func() bool) error {
		if errSelf != nil {
			return errSelf
		}
		root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(root) }()
		found := make([]string, len(targets))
		for n, target := range targets {
			if found[n], err = resolved(root, target, func(fd int) (string, error) { return linkAt(self, "fd/"+strconv.Itoa(fd)) }); err != nil {
				return err
			}
		}
		if !wanted() {
			return errLate
		}
		places = found
		return nil
	})
	return places, err
}

func linkAt(dir int, name string) (string, error) {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, b)
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

// resolveMounts is where the mounts of an instance that does not run go, its own links followed, and in the order in which none covers another.
// liblxc would follow links on the host.
func resolveMounts(rootfs string, mounts []spec.Mount) ([]spec.Mount, error) {
	if len(mounts) == 0 {
		return nil, nil
	}
	root, err := unix.Open(rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: rootfs, Err: err}
	}
	defer func() { _ = unix.Close(root) }()
	name := func(fd int) (string, error) { return os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)) }
	top, err := name(root)
	if err != nil {
		return nil, err
	}
	mounts = slices.Clone(mounts)
	for n, m := range mounts {
		if mounts[n].Target, err = resolved(root, m.Target, func(fd int) (string, error) {
			at, err := name(fd)
			return strings.TrimPrefix(at, top), err
		}); err != nil {
			return nil, fmt.Errorf("mount target %s: %w", m.Target, err)
		}
	}
	slices.SortStableFunc(mounts, func(a, b spec.Mount) int { return strings.Compare(a.Target, b.Target) })
	return mounts, nil
}

// resolved is where a path beneath a root leads, links followed as far as there is anything of it; name tells the path, beneath the root, of a
// descriptor. A path that leads nowhere, or to the root itself, is returned as it is.
func resolved(root int, target string, name func(fd int) (string, error)) (string, error) {
	rest := ""
	for head := target; head != "."; rest, head = path.Join(path.Base(head), rest), path.Dir(head) {
		fd, err := unix.Openat2(root, head, how(unix.O_PATH))
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if nowhere(err) {
			return target, nil
		}
		if err != nil {
			return "", err
		}
		found, err := name(fd)
		_ = unix.Close(fd)
		if err != nil {
			return "", err
		}
		if found = path.Join(strings.TrimPrefix(found, "/"), rest); fs.ValidPath(found) && found != "." {
			return found, nil
		}
		return target, nil
	}
	return target, nil
}
