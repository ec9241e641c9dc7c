package lxc

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/lxc/helper"
	"github.com/berthd/berth/internal/spec"
)

// attributes are the mount options that a mount has for itself, whatever file system it shows.
var attributes = map[string]uint64{
	"ro": unix.MOUNT_ATTR_RDONLY, "nosuid": unix.MOUNT_ATTR_NOSUID, "nodev": unix.MOUNT_ATTR_NODEV, "noexec": unix.MOUNT_ATTR_NOEXEC,
	"noatime": unix.MOUNT_ATTR_NOATIME, "nodiratime": unix.MOUNT_ATTR_NODIRATIME, "strictatime": unix.MOUNT_ATTR_STRICTATIME,
}

// propagations are the options that say how mounts pass to and from others; mount_setattr takes the same flag for a whole tree.
// A mount on its way is bound once more, so one that is not to be bound becomes so only in its place: see unbindable.
var propagations = map[string]uint64{
	"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE, "slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE,
	"shared": unix.MS_SHARED, "rshared": unix.MS_SHARED, "unbindable": unix.MS_PRIVATE, "runbindable": unix.MS_PRIVATE,
}

// unbindable makes mounts unbindable if their options say so.
func unbindable(tree int, m spec.Mount) error {
	if !slices.Contains(m.Options, "unbindable") && !slices.Contains(m.Options, "runbindable") {
		return nil
	}
	return unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|recursively(m), &unix.MountAttr{Propagation: unix.MS_UNBINDABLE})
}

// restricting are the attributes that a guest must not take off.
const restricting = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC

// isBind tells a mount that shows what the host has from a file system of its own.
func isBind(m spec.Mount) bool { return m.Type == "" || m.Type == "none" }

func isRecursive(m spec.Mount) bool { return slices.Contains(m.Options, "rbind") }

// recursively is the flag for all that is beneath, if the mount brings it along.
func recursively(m spec.Mount) uint {
	if isRecursive(m) {
		return unix.AT_RECURSIVE
	}
	return 0
}

// attributesOf are the attributes of a mount's options, and its propagation: private unless they say otherwise.
func attributesOf(m spec.Mount) (attr, propagation unix.MountAttr) {
	propagation.Propagation = unix.MS_PRIVATE
	for _, o := range m.Options {
		if p, ok := propagations[o]; ok {
			propagation.Propagation = p
		}
		attr.Attr_set |= attributes[o]
		if strings.HasSuffix(o, "atime") && o != "nodiratime" {
			attr.Attr_clr |= unix.MOUNT_ATTR__ATIME
		}
	}
	return attr, propagation
}

// detached makes a bind mount that is not attached anywhere yet. With locked, nobody can take its restrictions off again; without,
// they are locked only once the mount is copied to the mount namespace of a less privileged user namespace. ids, if not nil, is
// the user namespace through whose map the mount is seen.
func (d *Driver) detached(ctx context.Context, m spec.Mount, ids *os.File, locked bool) (*os.File, error) {
	if !isBind(m) {
		return nil, api.BadRequest("a file system of type %s cannot be mounted into a running instance", m.Type)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, m.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|recursively(m))
	if err != nil {
		return nil, err
	}
	tree := os.NewFile(uintptr(fd), m.Source)
	attr, propagation := attributesOf(m)
	if m.Idmapped && ids != nil {
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(ids.Fd())
	}
	// The propagation is private unless the options say otherwise: else what the host mounts beneath the source later would appear.
	for _, a := range []unix.MountAttr{attr, propagation} {
		if a == (unix.MountAttr{}) {
			continue
		}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|recursively(m), &a); err != nil {
			_ = tree.Close()
			return nil, fmt.Errorf("options %s: %w", strings.Join(m.Options, ","), err)
		}
	}
	goruntime.KeepAlive(ids)
	if !locked || attr.Attr_set&restricting == 0 {
		return tree, nil
	}
	defer func() { _ = tree.Close() }()
	return d.lockTree(ctx, tree)
}

// Where lockTree mounts in its own mount namespace. No instance has such a name.
const pointDir, pointFile = ".dir", ".file"

// lockTree returns a copy of detached mounts whose options nobody can take off again, not even root of the host.
func (d *Driver) lockTree(ctx context.Context, tree *os.File) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(tree.Fd()), &st); err != nil {
		return nil, err
	}
	at := filepath.Join(d.stageRoot(), pointDir)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		at = filepath.Join(d.stageRoot(), pointFile)
	}
	if err := makePoint(at, st.Mode&unix.S_IFMT != unix.S_IFDIR); err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }()
	locked, err := d.helper.File(ctx, helper.Call{
		Args: []string{"lock", d.lxcPath(), "lock", os.DevNull, at}, Stdio: [3]*os.File{tree, null, null},
	})
	if err != nil {
		return nil, fmt.Errorf("locking the options of a mount: %w", err)
	}
	return locked, nil
}

// makePoint makes the file or folder that is mounted over; that it is there is no error.
func makePoint(at string, isFile bool) error {
	if err := os.MkdirAll(filepath.Dir(at), 0o711); err != nil {
		return err
	}
	if !isFile {
		return os.MkdirAll(at, 0o711)
	}
	f, err := os.OpenFile(at, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
