package lxc

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// watcher waits for the end of processes: one thread for all of them, asleep in the kernel.
type watcher struct {
	epoll int
	wake  int // eventfd

	mu     sync.Mutex
	calls  map[int32]func()
	closed bool // the descriptors are others' from then on
	done   chan struct{}
}

var errClosed = errors.New("the driver is closed")

func newWatcher() (*watcher, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, err
	}
	w := &watcher{epoll: epoll, wake: wake, calls: map[int32]func(){}, done: make(chan struct{})}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)}); err != nil {
		_ = unix.Close(epoll)
		_ = unix.Close(wake)
		return nil, err
	}
	go w.loop()
	return w, nil
}

// add calls ended, once and on a goroutine of its own, when the process of a pidfd has ended. The descriptor stays the
// caller's, who may close it from then on.
func (w *watcher) add(pidfd int, ended func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errClosed
	}
	w.calls[int32(pidfd)] = ended
	err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, pidfd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(pidfd)})
	if err != nil {
		delete(w.calls, int32(pidfd))
	}
	return err
}

func (w *watcher) loop() {
	defer close(w.done)
	events := make([]unix.EpollEvent, 16)
	for {
		n, err := unix.EpollWait(w.epoll, events, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			if int(e.Fd) == w.wake {
				return
			}
			w.mu.Lock()
			call := w.calls[e.Fd]
			delete(w.calls, e.Fd)
			_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, int(e.Fd), nil)
			w.mu.Unlock()
			if call != nil {
				go call()
			}
		}
	}
}

func (w *watcher) close() {
	_, _ = unix.Write(w.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	_ = unix.Close(w.epoll)
	_ = unix.Close(w.wake)
}
