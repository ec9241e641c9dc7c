package lxc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/runtime"
)

// command is a process that the helper has put into a container; the helper is its parent and waits for it.
type command struct {
	helper *exec.Cmd
	report *os.File
	lines  *bufio.Reader
	pid    int

	mu    sync.Mutex
	pidfd int // -1: it has ended already
}

// Exec implements instance.Runtime.
func (d *Driver) Exec(ctx context.Context, id string, r runtime.ExecRequest) (runtime.Command, error) {
	if d.get(id) == nil {
		return nil, errNotRunning
	}
	request, err := encode(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = request.Close() }()
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	cmd := exec.Command(d.helper, "exec", d.lxcPath(), id, d.layoutOf(id).Config)
	cmd.Env = helperEnv
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r.Stdin, r.Stdout, r.Stderr
	cmd.ExtraFiles = []*os.File{request, theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: r.Terminal}
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("starting the helper of liblxc: %w", err)
	}
	_ = theirs.Close()
	c := &command{helper: cmd, report: ours, lines: bufio.NewReaderSize(ours, 512), pidfd: -1}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	err = c.attached()
	stop()
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = ours.Close()
		return nil, errors.Join(err, ctx.Err())
	}
	return c, nil
}

// encode writes the request as berth-lxc reads it, into memory that has a descriptor.
func encode(r runtime.ExecRequest) (*os.File, error) {
	if len(r.Command) == 0 || r.Command[0] == "" {
		return nil, api.BadRequest("No command given")
	}
	names := make([]string, 0, len(r.Environment))
	for name := range r.Environment {
		names = append(names, name)
	}
	sort.Strings(names)
	fields := []string{strconv.FormatUint(uint64(r.User), 10), strconv.FormatUint(uint64(r.Group), 10), r.Cwd, strconv.Itoa(len(names))}
	for _, name := range names {
		fields = append(fields, name+"="+r.Environment[name])
	}
	fields = append(fields, r.Command...)
	var text strings.Builder
	for _, f := range fields {
		if strings.IndexByte(f, 0) >= 0 {
			return nil, api.BadRequest("Command, environment and folder may not hold NUL")
		}
		text.WriteString(f)
		text.WriteByte(0)
	}
	fd, err := unix.MemfdCreate("exec", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("request of exec: %w", err)
	}
	f := os.NewFile(uintptr(fd), "exec")
	if _, err := f.WriteString(text.String()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// attached waits for the helper's word that the command is on its way.
func (c *command) attached() error {
	word, value, err := c.line()
	switch {
	case err != nil:
		return fmt.Errorf("attaching to the instance: %w", err)
	case word != "pid":
		return fmt.Errorf("attaching to the instance: %s", value)
	}
	if c.pid, err = strconv.Atoi(value); err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(c.pid, 0)
	if err != nil {
		return nil // over already
	}
	// Were the command over and its number somebody else's, the parent would not be the helper.
	if st, err := readStat(c.pid); err != nil || st.parent != c.helper.Process.Pid {
		_ = unix.Close(fd)
		return nil
	}
	c.pidfd = fd
	return nil
}

func (c *command) line() (word, value string, err error) {
	line, err := c.lines.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the helper of liblxc ended")
		}
		return "", "", err
	}
	word, value, _ = strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
	return word, value, nil
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

// Wait implements runtime.Command.
func (c *command) Wait() (int, error) {
	word, value, err := c.line()
	_ = c.helper.Wait() // its own status says nothing more
	_ = c.report.Close()
	c.mu.Lock()
	if c.pidfd >= 0 {
		_ = unix.Close(c.pidfd)
		c.pidfd = -1
	}
	c.mu.Unlock()
	switch {
	case err != nil:
		return -1, err
	case word != "exit":
		return -1, errors.New(value)
	}
	return strconv.Atoi(value)
}
