package machine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is a QEMU that is held by a pidfd, so that a signal cannot reach another process that got its number.
type process struct {
	pid  int
	fd   int
	done chan struct{} // closed when it has ended
}

var errNoProcess = errors.New("it does not run")

// findProcess finds the process that a pidfile names and whose command line has the word in it.
func findProcess(pidfile, word string) (*process, error) {
	data, err := os.ReadFile(pidfile)
	if os.IsNotExist(err) {
		return nil, errNoProcess // QEMU removes it as it ends
	} else if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pidfile, err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, errNoProcess
	} else if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	// Once the pidfd is there, the number means this process until it has ended.
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if !bytes.Contains(cmdline, []byte(word)) {
		_ = unix.Close(fd)
		return nil, errNoProcess
	}
	p := &process{pid: pid, fd: fd, done: make(chan struct{})}
	go p.watch()
	return p, nil
}

func (p *process) watch() {
	defer close(p.done)
	for {
		fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, -1); n > 0 || !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// end ends the process and waits until it is gone.
func (p *process) end() error {
	defer p.close()
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(p.fd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("QEMU: %w", err)
		}
		select {
		case <-p.done:
			return nil
		case <-time.After(10 * time.Second):
		}
	}
	return errors.New("QEMU does not end")
}

func (p *process) close() { _ = unix.Close(p.fd) }

// cpu is the time of processors that it has used so far. proc(5) counts it in hundredths of a second, in the fields after the name in brackets.
func (p *process) cpu() time.Duration {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
