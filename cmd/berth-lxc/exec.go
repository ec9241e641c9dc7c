//go:build linux && cgo

package main

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/lxc/go-lxc"
)

// Descriptors of an exec besides the command's own 0, 1 and 2.
const (
	requestFd = 3
	reportFd  = 4
)

// execute runs a command in the container. The request on fd 3 is a list of strings that each end in NUL: user
// ID, group ID, working folder (or nothing), number of environment entries, the entries, and the command's own
// arguments; so that no secret shows in a process list. The report on fd 4 is "pid N\n" with the command's process ID on
// the host as soon as it is known, then "exit N\n" with its status as a shell gives it; or "error TEXT\n".
func execute(c *lxc.Container) error {
	syscall.CloseOnExec(reportFd)
	report := os.NewFile(reportFd, "report")
	err := attach(c, report)
	if err != nil {
		// Standard error is the command's.
		_, _ = report.WriteString("error " + err.Error() + "\n")
		os.Exit(1)
	}
	return nil
}

func attach(c *lxc.Container, report *os.File) error {
	opts, args, err := readRequest()
	if err != nil {
		return err
	}
	// liblxc notes at each attach that there is no security module; the log is for what went wrong.
	if err := c.SetLogLevel(lxc.ERROR); err != nil {
		return err
	}
	pid, err := c.RunCommandNoWait(args, opts)
	if err != nil {
		return err
	}
	// The command has its own copies: a reader must see the end of its output when it ends, not when we do.
	for fd := range 3 {
		_ = syscall.Close(fd)
	}
	if _, err := report.WriteString("pid " + strconv.Itoa(pid) + "\n"); err != nil {
		return err
	}
	status, err := wait(pid)
	if err != nil {
		return err
	}
	_, err = report.WriteString("exit " + strconv.Itoa(status) + "\n")
	return err
}

func readRequest() (lxc.AttachOptions, []string, error) {
	in := os.NewFile(requestFd, "request")
	raw, err := io.ReadAll(in)
	_ = in.Close()
	if err != nil {
		return lxc.AttachOptions{}, nil, err
	}
	bad := errors.New("malformed request")
	fields := strings.Split(strings.TrimSuffix(string(raw), "\x00"), "\x00")
	if len(fields) < 5 {
		return lxc.AttachOptions{}, nil, bad
	}
	uid, err1 := strconv.ParseUint(fields[0], 10, 32)
	gid, err2 := strconv.ParseUint(fields[1], 10, 32)
	n, err3 := strconv.ParseUint(fields[3], 10, 31)
	if err1 != nil || err2 != nil || err3 != nil || int(n) >= len(fields)-4 {
		return lxc.AttachOptions{}, nil, bad
	}
	opts := lxc.DefaultAttachOptions
	opts.UID, opts.GID = int(uid), int(gid)
	opts.Cwd = fields[2]
	opts.ClearEnv = true
	opts.Env = fields[4 : 4+n]
	opts.StdinFd, opts.StdoutFd, opts.StderrFd = 0, 1, 2
	return opts, fields[4+n:], nil
}

func wait(pid int) (int, error) {
	for {
		var ws syscall.WaitStatus
		_, err := syscall.Wait4(pid, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, err
		case ws.Signaled():
			return 128 + int(ws.Signal()), nil
		default:
			return ws.ExitStatus(), nil
		}
	}
}
