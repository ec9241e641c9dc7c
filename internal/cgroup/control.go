package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pollEvery is how often a state is looked at that the kernel announces to nobody (freezer of v1, rmdir of a group
// whose last process is being reaped).
const pollEvery = 2 * time.Millisecond

// askAgain is how many looks there are between two writes of a state that does not come. The freezer of v1 passes over a
// process that goes to sleep in vfork after it was asked to stand still, while its child stands still already: both
// would stay as they are for ever, and the group at FREEZING.
const askAgain = 5

// Freeze stops every process of the group and returns once all stand still.
func (g Group) Freeze(ctx context.Context) error { return g.freeze(ctx, true) }

// Thaw lets them go on.
func (g Group) Thaw(ctx context.Context) error { return g.freeze(ctx, false) }

func (g Group) freeze(ctx context.Context, on bool) error {
	root, v2 := g.host.dir("freezer")
	if root == "" {
		return errors.New("no freezer on this host")
	}
	file, states := filepath.Join(root, g.name, "freezer.state"), [2]string{"THAWED", "FROZEN"}
	if v2 {
		file, states = filepath.Join(root, g.name, "cgroup.freeze"), [2]string{"0", "1"}
	}
	wanted := states[0]
	if on {
		wanted = states[1]
	}
	if err := write(file, wanted); err != nil {
		return err
	}
	for looks := 1; ; looks++ {
		frozen, err := g.Frozen()
		if err != nil || frozen == on {
			return err
		}
		if looks%askAgain == 0 {
			if err := write(file, wanted); ignoreGone(err) != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for processes to be %s: %w", strings.ToLower(wanted), ctx.Err())
		case <-time.After(pollEvery):
		}
	}
}

// Frozen tells whether every process of the group stands still.
func (g Group) Frozen() (bool, error) {
	root, v2 := g.host.dir("freezer")
	switch {
	case root == "":
		return false, nil
	case v2:
		raw, err := os.ReadFile(filepath.Join(root, g.name, "cgroup.events"))
		return strings.Contains(string(raw), "frozen 1"), ignoreGone(err)
	}
	raw, err := os.ReadFile(filepath.Join(root, g.name, "freezer.state"))
	return strings.TrimSpace(string(raw)) == "FROZEN", ignoreGone(err)
}

// Kill sends SIGKILL to every process of the group and of all below, thaws it so that they can end, and returns
// when none is left.
func (g Group) Kill(ctx context.Context) error {
	for {
		if g.host.unified != "" {
			_ = write(filepath.Join(g.host.unified, g.name, "cgroup.kill"), "1")
		}
		pids, err := g.Procs()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if root := g.host.v1["freezer"]; root != "" {
			_ = write(filepath.Join(root, g.name, "freezer.state"), "THAWED")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes of %s do not end: %w", len(pids), g.name, ctx.Err())
		case <-time.After(pollEvery):
		}
	}
}

// Empty waits until the group and all below hold no process, for limit at most.
func (g Group) Empty(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		pids, err := g.Procs()
		if err != nil || len(pids) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes of %s go on", len(pids), g.name)
		case <-time.After(pollEvery):
		}
	}
}

// removeTries bounds how long Remove waits for groups that the kernel still empties.
const removeTries = 1000

// Remove takes the group and all below away in every hierarchy. It must hold no process. That there is none is no error.
func (g Group) Remove() error {
	var errs []error
	for _, root := range g.host.roots() {
		if err := removeTree(filepath.Join(root, g.name)); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func removeTree(dir string) error {
	// Most groups are gone by now, or have none below.
	switch err := unix.Rmdir(dir); err {
	case nil, unix.ENOENT:
		return nil
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for range removeTries {
		err = unix.Rmdir(dir)
		if !errors.Is(err, syscall.EBUSY) {
			break
		}
		<-time.After(pollEvery)
	}
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("removing control group %s: %w", dir, err)
	}
	return nil
}

func write(path, value string) error {
	// Not os.WriteFile: a group's file must exist already, and is never created or truncated.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
