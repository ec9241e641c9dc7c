package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is a dnsmasq that was started for a folder, held by a pidfd so that no other process can be mistaken for it.
type process struct {
	fd   int
	pid  int
	args []string
}

// findDnsmasq finds the dnsmasq of a folder by its PID file, and believes it only if the process is a dnsmasq that
// was told to write that very file. Where the file is missing it looks at all processes: a daemon that was ended
// while dnsmasq started may have been followed too quickly by the next one.
func findDnsmasq(dir string) (*process, bool) {
	path := filepath.Join(dir, pidFile)
	data, err := os.ReadFile(path)
	if err == nil {
		pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil {
			return nil, false
		}
		return openDnsmasq(pid, path)
	}
	if _, err := os.Stat(filepath.Join(dir, rawFile)); err != nil {
		return nil, false // none was ever started here
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, false
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && isDnsmasq(cmdline(pid), path) {
			if p, ok := openDnsmasq(pid, path); ok {
				return p, true
			}
		}
	}
	return nil, false
}

func openDnsmasq(pid int, path string) (*process, bool) {
	if pid <= 1 {
		return nil, false
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, false
	}
	// Read after the pidfd is open: if the process still lives then, what was read is its own.
	p := &process{fd: fd, pid: pid, args: cmdline(pid)}
	if !isDnsmasq(p.args, path) || p.signal(0) != nil {
		p.close()
		return nil, false
	}
	return p, true
}

func cmdline(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return strings.Split(string(bytes.TrimSuffix(data, []byte{0})), "\x00")
}

func isDnsmasq(args []string, path string) bool {
	return len(args) > 0 && filepath.Base(args[0]) == "dnsmasq" && slices.Contains(args, "--pid-file="+path)
}

func (p *process) signal(s unix.Signal) error { return unix.PidfdSendSignal(p.fd, s, nil, 0) }

func (p *process) close() { _ = unix.Close(p.fd) }

// gone waits until the process has ended; false if it has not in time.
func (p *process) gone(ctx context.Context, limit time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline))
	}
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	end := time.Now().Add(limit)
	for {
		left := max(time.Until(end), 0)
		n, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if n > 0 {
			return true
		}
		if (err == nil || !errors.Is(err, unix.EINTR)) && left == 0 {
			return false
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false
		}
	}
}

// StopDnsmasq ends the dnsmasq of a folder, if one runs. Its leases stay.
func StopDnsmasq(ctx context.Context, dir string) error {
	if p, ok := findDnsmasq(dir); ok {
		defer p.close()
		if err := p.signal(unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("stop dnsmasq: %w", err)
		}
		if !p.gone(ctx, stopWait) {
			_ = p.signal(unix.SIGKILL)
			if !p.gone(context.WithoutCancel(ctx), stopWait) {
				return fmt.Errorf("dnsmasq (process %d) does not end", p.pid)
			}
		}
	}
	return remove(dir, pidFile)
}

// ReloadDnsmasq has the dnsmasq of a folder read its hosts again; that none runs is no error.
func ReloadDnsmasq(dir string) error {
	restartMu.Lock()
	defer restartMu.Unlock()
	p, ok := findDnsmasq(dir)
	if !ok {
		return nil
	}
	defer p.close()
	if err := p.signal(unix.SIGHUP); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("reload dnsmasq: %w", err)
	}
	return nil
}

// Running tells whether the dnsmasq of a folder runs.
func Running(dir string) bool {
	p, ok := findDnsmasq(dir)
	if ok {
		p.close()
	}
	return ok
}
