package bridge

import (
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

// stopWait bounds how long dnsmasq may take to end on SIGTERM before it is killed, and after that.
const stopWait = 5 * time.Second

// process is the dnsmasq of a folder, held by a pidfd so that no other process can be mistaken for it.
type process struct {
	fd     int
	record processRecord
}

// findDnsmasq returns the process that the record of a folder is about, if it still runs.
func findDnsmasq(dir string) (*process, bool) {
	r, ok := readRecord(dir)
	if !ok {
		return nil, false
	}
	fd, err := unix.PidfdOpen(r.PID, 0)
	if err != nil {
		return nil, false
	}
	// The pidfd was opened first: if the process has not ended afterwards, the answers are about it.
	p := &process{fd: fd, record: r}
	now, err := observe(r.PID)
	if err == nil && r.sameAs(now) && sharesNamespaces(r.PID) && !p.ended() {
		return p, true
	}
	if err != nil && now.Boot == r.Boot && now.Start == r.Start {
		// It is exiting and shows no program any more. Its sockets are free for the next dnsmasq only when it is gone.
		_ = p.gone(context.Background(), stopWait)
	}
	p.close()
	return nil, false
}

func (p *process) signal(s unix.Signal) error { return unix.PidfdSendSignal(p.fd, s, nil, 0) }

// catches tells whether the process has a handler for a signal.
func (p *process) catches(s unix.Signal) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.record.PID))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if mask, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			caught, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && caught&(1<<(s-1)) != 0
		}
	}
	return false
}

func (p *process) close() { _ = unix.Close(p.fd) }

// ended tells whether the process has ended, and takes it from the kernel's list if it is a child of this daemon.
func (p *process) ended() bool {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 0); err != nil || n == 0 {
		return false
	}
	_ = unix.Waitid(unix.P_PIDFD, p.fd, nil, unix.WEXITED|unix.WNOHANG, nil) // ECHILD: another's
	return true
}

// gone waits until the process has ended; false if it has not in time.
func (p *process) gone(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return false
	}
	defer unix.Close(wake)
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	})
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if err == nil || !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if !stop() {
		<-woken // before its descriptor goes
	}
	return p.ended()
}

// end has the process end: asked first, then killed.
func (p *process) end(ctx context.Context) error {
	if err := p.signal(unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("stop dnsmasq: %w", err)
	}
	if p.gone(ctx, stopWait) {
		return nil
	}
	return p.kill()
}

func (p *process) kill() error {
	_ = p.signal(unix.SIGKILL)
	if !p.gone(context.Background(), stopWait) {
		return fmt.Errorf("dnsmasq (process %d) does not end", p.record.PID)
	}
	return nil
}

// findOlder finds a dnsmasq without a record, started by a version of Berth that wrote none. The PID file alone proves nothing:
// dnsmasq can write there, and it stays behind. So the process must live in the host's namespaces, run a program called
// dnsmasq, and have the leases of this very folder open.
func findOlder(dir string) (*process, bool) {
	data, err := os.ReadFile(filepath.Join(dir, pidFile))
	if err != nil {
		return nil, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return nil, false
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, false
	}
	p := &process{fd: fd, record: processRecord{PID: pid}}
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	named := err == nil && strings.TrimSuffix(filepath.Base(program), " (deleted)") == "dnsmasq"
	if !named || !sharesNamespaces(pid) || !hasOpen(pid, filepath.Join(dir, leasesFile)) || p.ended() {
		p.close()
		return nil, false
	}
	return p, true
}

func hasOpen(pid int, path string) bool {
	want, err := os.Stat(path)
	if err != nil {
		return false
	}
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(fds)
	return err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		info, err := os.Stat(filepath.Join(fds, e.Name()))
		return err == nil && os.SameFile(info, want)
	})
}
