package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// pollEvery is how often a state is looked at that the kernel announces to nobody (freezer of v1, rmdir of a group
// whose last process is being reaped).
const pollEvery = 2 * time.Millisecond

// pollSeldom is the pause between looks at processes that have not died for a while: a disk may have to answer first.
const pollSeldom = 100 * time.Millisecond

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

// Kill sends SIGKILL to every process of the group and of all below, thaws them so that they can end, and returns
// when none is left.
func (g Group) Kill(ctx context.Context) error {
	for pause := pollEvery; ; pause = min(2*pause, pollSeldom) {
		if g.host.unified != "" {
			_ = write(filepath.Join(g.host.unified, g.name, "cgroup.kill"), "1")
		}
		pids, err := g.Procs()
		if len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		g.thawAll(ctx)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes of %s do not end: %w", len(pids), g.name, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// thawAll thaws the group and all below by themselves: a process of v1 that stands still does not even die, and a guest can freeze groups of
// its own. In v2 it dies.
func (g Group) thawAll(ctx context.Context) {
	root := g.host.v1["freezer"]
	if root == "" {
		return
	}
	_ = walk(filepath.Join(root, g.name), func(group int) error {
		_ = writeAt(group, "freezer.state", "THAWED") // of one that has gone: no matter
		return ctx.Err()
	}, nil)
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

func write(path, value string) error {
	// Not os.WriteFile: a group's file must exist already, and is never created or truncated.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
