package server

import (
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/unixsocket"
)

// firstByteTime is how long a connection to the socket may send nothing at all.
const firstByteTime = time.Minute

// handshake is the first byte of whoever speaks TLS (RFC 8446, 5.1: a record of type handshake). No request of HTTP begins with it.
const handshake = 0x16

// socket tells two kinds of callers on one unix socket apart: those that speak HTTP, who are trusted for having got there, and those that speak
// TLS, who are whoever their certificate says. The latter is how a program that may open the socket hands on what others send it (berth-user).
type socket struct {
	*net.UnixListener
	plain, secure chan net.Conn
	end           chan struct{} // closed with the listener

	mu      sync.Mutex
	closed  bool
	unknown map[*net.UnixConn]struct{} // that have sent nothing yet
	failed  error                      // why nothing is accepted any more
}

// half is what of a socket's connections comes by one of both protocols.
type half struct {
	*socket
	conns chan net.Conn
}

// SplitSocket accepts connections of a unix socket: plain has those that are for Serve, and secure those for NewTLSListener. Both have to be
// accepted from; the end of one is the other's.
func SplitSocket(l *net.UnixListener) (plain, secure net.Listener) {
	s := &socket{UnixListener: l, plain: make(chan net.Conn), secure: make(chan net.Conn), end: make(chan struct{}), unknown: map[*net.UnixConn]struct{}{}}
	go s.accept()
	return half{s, s.plain}, half{s, s.secure}
}

// Accept implements net.Listener.
func (h half) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.end:
		h.mu.Lock()
		defer h.mu.Unlock()
		return nil, h.failed
	}
}

// Close implements net.Listener.
func (s *socket) Close() error { return s.close(net.ErrClosed) }

func (s *socket) close(why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed, s.failed = true, why
	close(s.end)
	for c := range s.unknown {
		_ = c.Close()
	}
	return s.UnixListener.Close()
}

// accept goes on until the listener is closed. Where there are too many open files it tries again, as net/http does.
func (s *socket) accept() {
	for wait := time.Duration(0); ; {
		c, err := s.AcceptUnix()
		switch {
		case err == nil:
			wait = 0
			go s.sort(c)
		case unixsocket.Passes(err):
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(wait):
			case <-s.end:
			}
		default:
			_ = s.close(err)
			return
		}
	}
}

// sort hands a connection to the half that it is of.
func (s *socket) sort(c *net.UnixConn) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = c.Close()
		return
	}
	s.unknown[c] = struct{}{}
	s.mu.Unlock()
	first, err := peek(c)
	s.mu.Lock()
	delete(s.unknown, c)
	s.mu.Unlock()
	if err != nil {
		_ = c.Close()
		return
	}
	to := s.plain
	if first == handshake {
		to = s.secure
	}
	select {
	case to <- c:
	case <-s.end:
		_ = c.Close()
	}
}

// peek waits for the first byte of a connection, and leaves it there.
func peek(c *net.UnixConn) (byte, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	if err := c.SetReadDeadline(time.Now().Add(firstByteTime)); err != nil {
		return 0, err
	}
	var first [1]byte
	var n int
	var result error
	err = raw.Read(func(fd uintptr) bool {
		n, _, result = unix.Recvfrom(int(fd), first[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return !errors.Is(result, unix.EAGAIN)
	})
	if err = errors.Join(err, result, c.SetReadDeadline(time.Time{})); err == nil && n == 0 {
		err = net.ErrClosed
	}
	return first[0], err
}
