package lxc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/runtime"
)

// container is one that runs: its init and the monitor that liblxc leaves behind, each held by a pidfd so that no
// other process can take their place.
type container struct {
	id      string
	uuid    string        // see runtime.Process
	gone    chan struct{} // closed when the container has ended for good
	after   []func()      // called then; not a goroutine each that waits, as there may be thousands
	frozen  atomic.Bool
	ending  atomic.Int32 // how many callers want it to end: it is not to be restarted then
	monitor atomic.Pointer[process]
	giveUp  atomic.Pointer[context.CancelFunc] // ends a restart from inside that waits
	// freezing ends a freeze that is under way, and in cgroup v1 would keep the processes from dying.
	freezing atomic.Pointer[context.CancelFunc]

	mu     sync.Mutex // held while gone is closed, a descriptor is closed, or used for what would harm whoever got its number
	closed bool
	// first is the init that was seen last; after a restart from inside there is another.
	first *initProcess
}

// process is one that cannot be taken for another.
type process struct {
	pid, fd int
}

// close gives the descriptors back. Nobody may signal by their numbers, or close them again, from then on: others get them. The
// driver's end and the container's own may come at the same time.
func (c *container) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	_ = unix.Close(c.monitor.Load().fd)
	if c.first != nil {
		c.first.release()
	}
}

// wantEnd says that somebody wants the container to end, until done is called: it is not to be restarted or frozen then, and a restart
// that waits for its turn, or a freeze that is under way, is given up.
func (c *container) wantEnd() (done func()) {
	c.ending.Add(1)
	for _, wait := range []*context.CancelFunc{c.giveUp.Load(), c.freezing.Load()} {
		if wait != nil {
			(*wait)()
		}
	}
	return func() { c.ending.Add(-1) }
}

// leave marks the container as ended for good and calls the functions that wait for it.
func (c *container) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.gone)
	for _, call := range c.after {
		go call()
	}
	c.after = nil
}

// afterExit has a function called on a goroutine of its own when the container has ended; false if it has already.
func (c *container) afterExit(call func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended() {
		return false
	}
	c.after = append(c.after, call)
	return true
}

// pidfds are the caller's own descriptors of monitor and init; init's is -1 when there is none now.
func (c *container) pidfds() (monitor, first int, err error) {
	i := c.hold()
	if i != nil {
		defer i.release()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return -1, -1, unix.ESRCH
	}
	first = -1
	if i != nil {
		if first, err = duplicate(i.fd); err != nil {
			return -1, -1, err
		}
	}
	if monitor, err = duplicate(c.monitor.Load().fd); err != nil {
		return -1, -1, errors.Join(err, closeAll(first))
	}
	return monitor, first, nil
}

func duplicate(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

// closeAll closes descriptors; -1 is none.
func closeAll(fds ...int) error {
	var errs []error
	for _, fd := range fds {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// halt asks init to end the container and tells whether it is sure to hear that. One that has ended, or is not there, is.
func (c *container) halt() (sure bool, err error) {
	i := c.hold()
	if i == nil {
		return true, nil
	}
	defer i.release()
	if sameProgram(i.pid, c.monitor.Load().pid) {
		return false, nil // still liblxc, which has signals blocked and forgets them
	}
	sig, sure := haltSignal(i.pid)
	if sig == 0 {
		return false, nil
	}
	return sure, ignoreEnded(unix.PidfdSendSignal(i.fd, sig, nil, 0))
}

// sameProgram tells whether two processes run the same program.
func sameProgram(a, b int) bool {
	first, err1 := identify(fmt.Sprintf("/proc/%d/exe", a))
	second, err2 := identify(fmt.Sprintf("/proc/%d/exe", b))
	return err1 == nil && err2 == nil && first == second
}

type file struct {
	major, minor uint32
	inode        uint64
}

// identify says which file a link of /proc leads to, from what the kernel has in memory: a guest's file is on a file system that may not answer.
func identify(link string) (file, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, link, unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st)
	return file{st.Dev_major, st.Dev_minor, st.Ino}, err
}

// kill ends the process of a pidfd; that it has ended already is no error.
func kill(pidfd int) error { return ignoreEnded(unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)) }

func ignoreEnded(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

func (c *container) ended() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

func (c *container) process() runtime.Process {
	i := c.hold()
	if i == nil {
		return runtime.Process{ID: c.id, UUID: c.uuid}
	}
	defer i.release()
	return runtime.Process{ID: c.id, UUID: c.uuid, InitPID: i.pid, StartedAt: i.started}
}

// open makes a container of a monitor whose control group says that it is id's.
func openContainer(id string, monitorPID int, stillOurs func(pid int) bool) (*container, error) {
	fd, err := unix.PidfdOpen(monitorPID, 0)
	if err != nil {
		return nil, fmt.Errorf("monitor of %s: %w", id, err)
	}
	if !stillOurs(monitorPID) {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("monitor of %s: %w", id, unix.ESRCH)
	}
	c := &container{id: id, gone: make(chan struct{})}
	c.monitor.Store(&process{monitorPID, fd})
	if i := c.hold(); i != nil {
		i.release()
	}
	return c, nil
}

// statusLine is the rest of one line of /proc/PID/status; empty where it is missing.
func statusLine(pid int, key string) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

type stat struct {
	parent  int
	started time.Duration // after boot
}

// readStat reads /proc/PID/stat. Fields are counted from the end of the name, which may hold anything.
func readStat(pid int) (stat, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 20 {
		return stat{}, errors.New("malformed stat")
	}
	parent, err1 := strconv.Atoi(fields[1])
	ticks, err2 := strconv.ParseInt(fields[19], 10, 64)
	const perSecond = 100 // USER_HZ, the same on every architecture that Go knows
	return stat{parent, time.Duration(ticks) * time.Second / perSecond}, errors.Join(err1, err2)
}

func bootTime() time.Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(ts.Nano()))
}

// alive tells whether the process of a pidfd has not ended: the descriptor is readable from then on.
func alive(fd int) bool {
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n == 0
	}
}

// wait returns when the container has gone entirely, or ctx ends.
func (c *container) wait(ctx context.Context) error {
	select {
	case <-c.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
