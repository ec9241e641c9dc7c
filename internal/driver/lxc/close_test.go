package lxc

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// apart is where a test has descriptors whose numbers nothing else in this process is given.
const apart = 700

// watched is a container whose one process is the test's own.
func (h *host) watched() *container {
	h.Helper()
	c, err := openContainer("c1", os.Getpid(), func(int) bool { return true })
	h.do(err)
	m := c.monitor.Load()
	fd, err := unix.FcntlInt(uintptr(m.fd), unix.F_DUPFD_CLOEXEC, apart)
	h.do(err)
	h.do(unix.Close(m.fd))
	c.monitor.Store(&process{m.pid, fd})
	return c
}

// gives has somebody else given the number of a descriptor that was closed, and tells whether it is still theirs.
func (h *host) gives(fd int) (stillTheirs func() bool) {
	h.Helper()
	f, err := os.CreateTemp(h.TempDir(), "theirs")
	h.do(err)
	got, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, fd)
	h.do(err)
	if got != fd {
		h.Fatalf("descriptor %d is in use still", fd)
	}
	h.Cleanup(func() { _, _ = unix.Close(fd), f.Close() })
	return func() bool {
		info, err := f.Stat()
		h.do(err)
		var st unix.Stat_t
		return unix.Fstat(fd, &st) == nil && st.Ino == info.Sys().(*syscall.Stat_t).Ino
	}
}

// TestADescriptorIsClosedOnce: the end of a container may come beside the driver's, and what has its number by then is another's.
func TestADescriptorIsClosedOnce(t *testing.T) {
	h := newHost(t)
	for name, again := range map[string]func(c *container){
		"by the end of both":            func(c *container) { c.close() },
		"by a restart, which goes on":   func(c *container) { c.become(h.watched()) },
		"by a restart, and then an end": func(c *container) { c.become(h.watched()); c.close() },
	} {
		c := h.watched()
		fd := c.monitor.Load().fd
		c.close()
		stillTheirs := h.gives(fd)
		again(c)
		if !stillTheirs() {
			t.Errorf("%s: a descriptor of somebody else's was closed", name)
		}
	}
	c, next := h.watched(), h.watched()
	old := c.monitor.Load().fd
	c.become(next)
	if _, err := unix.FcntlInt(uintptr(old), unix.F_GETFD, 0); err == nil {
		t.Error("after a restart the old monitor's descriptor is open")
	}
	c.close()
}

// TestNothingIsWatchedByAClosedDriver: what its descriptors were is another's by then.
func TestNothingIsWatchedByAClosedDriver(t *testing.T) {
	w, err := newWatcher()
	if err != nil {
		t.Fatal(err)
	}
	w.close()
	h := newHost(t)
	c := h.watched()
	defer c.close()
	if err := w.add(c.monitor.Load().fd, func() {}); err == nil {
		t.Error("it takes a process to watch")
	}
}
