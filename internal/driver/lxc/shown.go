package lxc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/bounded"
)

// self is the daemon's own folder in the host's /proc, for threads that see an instance's. It is opened before there are any.
var self, errSelf = unix.Open("/proc/self", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)

// origin is what a mount shows: which file system, and what of it. It is the same wherever the mount is moved to and whatever covers it.
type origin struct {
	major, minor int
	root         string
}

// sourceTime bounds the wait for a source that is on a disk or a server that hangs.
const sourceTime = 5 * time.Second

// originOf is what a bind mount of a source of the host shows; a zero one if that cannot be told, as of a source that is gone. Of one that hangs it is
// api.Unavailable: by its place alone another mount might be taken for it.
func (d *Driver) originOf(ctx context.Context, source string) (origin, error) {
	from, err := bounded.Do(ctx, &d.sources, source, sourceTime, func() (origin, error) { return lookAt(source), nil })
	if errors.Is(err, bounded.ErrHung) {
		err = api.Unavailable("Source path %q %w", source, err)
	}
	return from, err
}

func lookAt(source string) origin {
	fd, err := unix.Open(source, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return origin{}
	}
	defer func() { _ = unix.Close(fd) }()
	id, _, err := mountOf(fd)
	if err != nil {
		return origin{}
	}
	name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return origin{}
	}
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return m.ID != id, m.ID == id })
	if err != nil || len(mounts) == 0 {
		return origin{}
	}
	m := mounts[0]
	return origin{m.Major, m.Minor, path.Join(m.Root, strings.TrimPrefix(name, m.Mountpoint))}
}

func originOfMount(m *mountinfo.Info) origin { return origin{m.Major, m.Minor, m.Root} }

// mountOf is the ID of the mount that a descriptor is on, as mountinfo has it, and whether it is the top of that mount.
func mountOf(fd int) (id int, top bool, err error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &st); err != nil {
		return 0, false, err
	}
	return int(st.Mnt_id), st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// shown are the mounts of a thread's mount namespace that show o, but for those at the places in others and for its root.
func shown(o origin, others []string) ([]*mountinfo.Info, error) {
	all, err := shownAnywhere(o, others)
	return slices.DeleteFunc(all, func(m *mountinfo.Info) bool { return m.Mountpoint == "/" }), err
}

// shownAnywhere are those of shown, and the root if that shows o.
func shownAnywhere(o origin, others []string) ([]*mountinfo.Info, error) {
	if o == (origin{}) {
		return nil, nil
	}
	all, err := mountTable()
	if err != nil {
		return nil, fmt.Errorf("mounts of the instance: %w", err)
	}
	keep := map[int]bool{}
	for _, other := range others {
		if fd, err := openPlace(other); err == nil {
			if id, top, err := mountOf(fd); err == nil && top {
				keep[id] = true
			}
			_ = unix.Close(fd)
		}
	}
	return slices.DeleteFunc(all, func(m *mountinfo.Info) bool { return originOfMount(m) != o || keep[m.ID] }), nil
}

// openPlace opens a path inside, links followed.
func openPlace(target string) (int, error) {
	return unix.Openat2(unix.AT_FDCWD, "/"+target, how(unix.O_PATH))
}

// errCovered says that a mount is there and that nobody can get at it.
func errCovered(at string) error {
	return api.BadRequest("The instance has mounted something over %s, which has to be unmounted first", at)
}

// reach opens the tops of mounts by their places inside. One that lies beneath another one at its own place is left out as long as there is
// one that does not; when there is none, that is an error.
func reach(mounts []*mountinfo.Info) (tops []int, err error) {
	for _, m := range mounts {
		fd, err := openPlace(strings.TrimPrefix(m.Mountpoint, "/"))
		if err != nil {
			continue
		}
		if id, top, err := mountOf(fd); err == nil && top && id == m.ID {
			tops = append(tops, fd)
			continue
		}
		_ = unix.Close(fd)
	}
	if len(mounts) > 0 && len(tops) == 0 {
		return nil, errCovered(mounts[0].Mountpoint)
	}
	return tops, nil
}

// reachPlace opens what is mounted at a path inside, links followed; none if nothing is.
func reachPlace(target string) ([]int, error) {
	fd, err := openPlace(target)
	if nowhere(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	_, top, err := mountOf(fd)
	if err != nil || !top {
		_ = unix.Close(fd)
		return nil, err
	}
	return []int{fd}, nil
}

// nowhere tells whether an error says that there is no such place.
func nowhere(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// unmountTops takes away the mounts that descriptors are the tops of, by way of the host's /proc: no name inside has a part in it. The folder
// that the thread is in becomes another.
func unmountTops(tops []int) error {
	if errSelf != nil {
		return errSelf
	}
	dir, err := unix.Openat(self, "fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	if err := unix.Fchdir(dir); err != nil {
		return err
	}
	for _, fd := range tops {
		// EINVAL: it has gone meanwhile, by the guest's hand or with another one that it was on.
		if err := unix.Unmount(strconv.Itoa(fd), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount: %w", err)
		}
	}
	return nil
}
