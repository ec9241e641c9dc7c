package lxc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// initProcess is the first process of a container, held by a pidfd. Whoever got it from hold may use it until they release it:
// the descriptor is open until then, whatever becomes of the container.
type initProcess struct {
	pid     int
	fd      int
	started time.Time
	users   atomic.Int32
}

// newInit is an init with one user.
func newInit(pid, fd int, started time.Time) *initProcess {
	i := &initProcess{pid: pid, fd: fd, started: started}
	i.users.Store(1)
	return i
}

// release ends a use.
func (i *initProcess) release() {
	if i.users.Add(-1) == 0 {
		_ = unix.Close(i.fd)
	}
}

// Requests of pidfd ioctls (linux/pidfd.h, Linux 6.11), by the name of the namespace in /proc/PID/ns.
var namespaceRequests = map[string]uint{"net": 0xff04, "user": 0xff09}

// namespace opens one of the namespaces that the process is in.
func (i *initProcess) namespace(kind string) (*os.File, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(i.fd), uintptr(namespaceRequests[kind]), 0)
	switch errno {
	case 0:
		unix.CloseOnExec(int(fd))
		return os.NewFile(fd, kind), nil
	case unix.ESRCH:
		return nil, errNotRunning
	}
	return i.open("ns/"+kind, unix.O_RDONLY)
}

// open opens a file of the process's folder in /proc. If the process is alive afterwards, the folder was its own and not that of
// another process that was given its number.
func (i *initProcess) open(file string, flags int) (*os.File, error) {
	path := "/proc/" + strconv.Itoa(i.pid) + "/" + file
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if !alive(i.fd) {
		if err == nil {
			_ = unix.Close(fd)
		}
		return nil, errNotRunning
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// root opens the root folder that the process sees.
func (i *initProcess) root() (*os.File, error) { return i.open("root", unix.O_PATH|unix.O_DIRECTORY) }

// owner returns the host's IDs of the root user of the process's user namespace.
func (i *initProcess) owner() (uid, gid int, err error) {
	if uid, err = i.mapped("uid_map"); err != nil {
		return 0, 0, err
	}
	gid, err = i.mapped("gid_map")
	return uid, gid, err
}

// maxMap bounds what is read of a map: the kernel holds 340 lines.
const maxMap = 32 << 10

func (i *initProcess) mapped(file string) (int, error) {
	f, err := i.open(file, unix.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	text := make([]byte, maxMap)
	n, err := f.Read(text)
	if err != nil {
		return 0, fmt.Errorf("map of the instance: %w", err)
	}
	for line := range strings.Lines(string(text[:n])) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "0" {
			return strconv.Atoi(fields[1])
		}
	}
	return 0, errors.New("root is not mapped")
}

// hold is the container's first process as it is now, for the caller to release: there is another after a restart from inside. It
// is nil in between and at the end.
func (c *container) hold() *initProcess {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	if c.first == nil || !alive(c.first.fd) {
		m := c.monitor.Load()
		now, err := findInit(m.pid)
		if err != nil || now == nil {
			return nil
		}
		if !alive(m.fd) { // its number may be another's, and so is the child
			now.release()
			return nil
		}
		c.replace(now)
	}
	c.first.users.Add(1)
	return c.first
}

// replace makes an init the container's own; mu is held.
func (c *container) replace(now *initProcess) {
	if c.first != nil {
		c.first.release()
	}
	c.first = now
}

// become gives c the processes of next, a container that was started in its place, and closes its own; if c is closed, those of
// next. next must not be used any more.
func (c *container) become(next *container) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		next.close()
		return
	}
	_ = unix.Close(c.monitor.Swap(next.monitor.Load()).fd)
	c.replace(next.first)
	c.frozen.Store(false)
}

// findInit finds the child of a monitor that is process 1 of its own PID namespace; nil if there is none now.
func findInit(monitor int) (*initProcess, error) {
	children, err := childrenOf(monitor)
	if err != nil {
		return nil, err
	}
	for _, pid := range children {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		st, err := readStat(pid)
		if err == nil && st.parent == monitor && isInit(pid) && alive(fd) {
			return newInit(pid, fd, bootTime().Add(st.started)), nil
		}
		_ = unix.Close(fd)
	}
	return nil, nil
}

func childrenOf(pid int) ([]int, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, err
	}
	var out []int
	for field := range strings.FieldsSeq(string(raw)) {
		if n, err := strconv.Atoi(field); err == nil {
			out = append(out, n)
		}
	}
	return out, nil
}

// isInit tells whether a process is the first of its PID namespace: the last ID in NSpid is 1.
func isInit(pid int) bool {
	f := strings.Fields(statusLine(pid, "NSpid:"))
	return len(f) > 1 && f[len(f)-1] == "1"
}
