package lxc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/lxc/helper"
	"github.com/berthd/berth/internal/runtime"
)

// command is a process in a container; the helper's process is its parent and waits for it.
type command struct {
	call *helper.Process
	pid  int

	mu    sync.Mutex
	pidfd int // -1: it has ended
}

// Exec implements instance.Runtime.
func (d *Driver) Exec(ctx context.Context, id string, r runtime.ExecRequest) (runtime.Command, error) {
	if d.get(id) == nil {
		return nil, d.absent(id)
	}
	if len(r.Command) == 0 || r.Command[0] == "" {
		return nil, api.BadRequest("No command given")
	}
	label, err := d.commandLabel(id)
	if err != nil {
		return nil, err
	}
	p, err := d.helper.Call(ctx, helper.Call{
		Args: append(d.call("exec", id), execArgs(r, label)...), Terminal: r.Terminal,
		Stdio: [3]*os.File{r.Stdin, r.Stdout, r.Stderr},
	})
	if errors.Is(err, helper.ErrNUL) {
		return nil, api.BadRequest("Command, environment and folder may not hold NUL")
	}
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, p.End)
	c, err := attached(p)
	if !stop() && err == nil { // the helper has been killed, and would tell of no end
		_ = c.Signal(int(unix.SIGKILL))
		c.forget()
		err = ctx.Err()
	}
	if err != nil {
		p.Kill()
		p.Close()
		return nil, errors.Join(err, ctx.Err())
	}
	return c, nil
}

// execArgs are what the verb takes, in the order of cmd/berth-lxc/exec.c.
func execArgs(r runtime.ExecRequest, label string) []string {
	const before = 5
	args := make([]string, before, before+len(r.Environment)+len(r.Command))
	args[0], args[1] = strconv.FormatUint(uint64(r.User), 10), strconv.FormatUint(uint64(r.Group), 10)
	args[2], args[3], args[4] = r.Cwd, label, strconv.Itoa(len(r.Environment))
	for name, value := range r.Environment {
		args = append(args, name+"="+value)
	}
	slices.Sort(args[before:])
	return append(args, r.Command...)
}

// attached waits for the word that the command is on its way.
func attached(p *helper.Process) (*command, error) {
	m, err := p.Next()
	if err == nil && m.Word != "pid" {
		m.Close()
		err = errors.New(m.Text)
	}
	if err != nil {
		return nil, fmt.Errorf("attaching to the instance: %w", err)
	}
	pid, err := strconv.Atoi(m.Text)
	if err != nil {
		m.Close()
		return nil, err
	}
	return &command{call: p, pid: pid, pidfd: m.Fd}, nil
}

// PID implements runtime.Command.
func (c *command) PID() int { return c.pid }

// Signal implements runtime.Command.
func (c *command) Signal(sig int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pidfd < 0 {
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(c.pidfd, unix.Signal(sig), nil, 0)
}

// forget closes the handle of the process.
func (c *command) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pidfd >= 0 {
		_ = unix.Close(c.pidfd)
		c.pidfd = -1
	}
}

// Wait implements runtime.Command.
func (c *command) Wait() (int, error) {
	m, err := c.call.Next()
	c.call.Close()
	c.forget()
	switch {
	case err != nil:
		return -1, err
	case m.Word == "refused":
		return refused(m.Text)
	case m.Word != "exit":
		m.Close()
		return -1, errors.New(m.Text)
	}
	return strconv.Atoi(m.Text)
}

// refused tells why a command could not be executed, from the number of the kernel's error.
func refused(number string) (int, error) {
	n, err := strconv.Atoi(number)
	switch {
	case err != nil:
		return -1, err
	case unix.Errno(n) == unix.ENOENT:
		return 127, runtime.ErrCommandNotFound
	}
	return 126, runtime.ErrCommandNotExecutable
}
