package lxc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/spec"
)

var afterStage = fault.New("lxc.start.staged")

// A stage is a folder with a tmpfs on which, while a container starts, the host's folders that it is to see are mounted with their
// final options. It is removed as soon as the container runs.
//
// The options are on the mount before the container's mount namespace exists. When the kernel copies it there, it keeps root of
// a user namespace from taking them off (mount_namespaces(7)); mounts that liblxc makes inside are the container's own, and
// any option of theirs is too. A privileged container has no user namespace: what it gets is locked before, by lockTree.

// staged is one mount on the stage.
type staged struct {
	Name  string // in the stage's folder
	Mount spec.Mount
}

// plan is what a stage holds. It is kept in a file for starts without a Spec: a container may restart from inside while no daemon runs.
type plan struct {
	UUID   string // see spec.Spec
	IDMap  []spec.IDMapEntry
	Staged []staged
}

// stagedRoot is the name of the root file system on the stage.
const stagedRoot = "root"

// stagedName is the name of the mount of that number on the stage.
func stagedName(n int) string { return strconv.Itoa(n) }

// stagesRoot tells whether the root file system needs the stage: for options that a guest must not undo, or for an ID map.
func stagesRoot(s *spec.Spec) bool { return s.RootFS.ReadOnly || len(s.IDMap) > 0 }

// planOf lists what the stage of s must hold.
func planOf(s *spec.Spec) plan {
	p := plan{UUID: s.UUID, IDMap: s.IDMap}
	if stagesRoot(s) {
		options := append([]string{"bind"}, s.RootFS.Options...)
		if s.RootFS.ReadOnly {
			options = append(options, "ro")
		}
		// nodev: device nodes in the root file system are no way to a device. With nesting the device rules alone must do: runc
		// before 1.2 drops the option when it remounts read-only, which the kernel refuses.
		if len(s.IDMap) > 0 && !s.Nesting {
			options = append(options, "nodev")
		}
		p.Staged = append(p.Staged, staged{Name: stagedRoot, Mount: spec.Mount{
			Source: s.RootFS.Path, Options: options, Idmapped: s.RootFS.Idmapped,
		}})
	}
	for n, m := range s.Mounts {
		if isBind(m) {
			p.Staged = append(p.Staged, staged{Name: stagedName(n), Mount: m})
		}
	}
	return p
}

func (p plan) mapped() bool {
	for _, s := range p.Staged {
		if s.Mount.Idmapped && len(p.IDMap) > 0 {
			return true
		}
	}
	return false
}

func (d *Driver) stageRoot() string { return filepath.Join(d.root, "run", "stage") }

func readPlan(l layout) (p plan, err error) {
	raw, err := os.ReadFile(l.Plan)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, fmt.Errorf("%s: %w", l.Plan, err)
	}
	return p, nil
}

// stage makes ready what the plan of a container says.
func (d *Driver) stage(ctx context.Context, id string, l layout, p plan) (err error) {
	if len(p.Staged) == 0 {
		return nil
	}
	if err := errors.Join(unstage(l.Stage), os.MkdirAll(l.Stage, 0o711)); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unstage(l.Stage))
		}
	}()
	if err := unix.Mount("berth", l.Stage, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0711,size=1m"); err != nil {
		return fmt.Errorf("stage of %s: %w", id, err)
	}
	// No other mount namespace of the host gets what is mounted here.
	if err := unix.Mount("", l.Stage, "", unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	var ids *os.File
	if p.mapped() {
		if ids, err = d.maps.get(ctx, p.IDMap); err != nil {
			return err
		}
	}
	for _, s := range p.Staged {
		if err := d.stageOne(ctx, filepath.Join(l.Stage, s.Name), s.Mount, ids, len(p.IDMap) == 0); err != nil {
			return err
		}
	}
	return afterStage.Hit()
}

func (d *Driver) stageOne(ctx context.Context, at string, m spec.Mount, ids *os.File, locked bool) error {
	tree, err := d.detached(ctx, m, ids, locked)
	if m.Optional && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mount of %s: %w", m.Source, err)
	}
	defer func() { _ = tree.Close() }()
	info, err := tree.Stat()
	if err != nil {
		return err
	}
	if err := makePoint(at, !info.IsDir()); err != nil {
		return err
	}
	if err := unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount of %s: %w", m.Source, err)
	}
	return nil
}

// unstage takes a stage away. That there is none is no error.
func unstage(dir string) error {
	for {
		err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// clearStages takes away what starts that were cut off have left. One that is under way holds its lock.
func (d *Driver) clearStages(ctx context.Context) {
	entries, err := os.ReadDir(d.stageRoot())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Error("mounts for starts may be left", "err", err)
	}
	for _, e := range entries {
		id := e.Name()
		if !e.IsDir() || id == pointDir {
			continue
		}
		lock, err := d.lock(ctx, id, unix.LOCK_EX)
		if err == nil {
			err = errors.Join(unstage(d.layoutOf(id).Stage), lock.Close())
		}
		if err != nil {
			d.log.Error("mounts for a start are left", "instance", id, "err", err)
		}
	}
}
