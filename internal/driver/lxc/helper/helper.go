// Package helper is the daemon's end of berth-lxc, the program that links liblxc.
//
// The program is started once, when it is first needed, and forks a process for each call. A process ends with its
// call; a fault in it, or in liblxc, is an error of that call and of nothing else.
package helper

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// environment is all that berth-lxc gets. No PATH: liblxc must not find newuidmap and newgidmap. One arena of the C library's:
// more would only make the monitors larger.
var environment = []string{"MALLOC_ARENA_MAX=1", "LC_ALL=C"}

// Server is the running program, or none yet.
type Server struct {
	path string

	mu   sync.Mutex
	sock *os.File
	cmd  *exec.Cmd
}

// New makes a server of the program at a path; it starts nothing.
func New(path string) *Server { return &Server{path: path} }

// Close ends the program. Calls under way go on.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop()
}

func (s *Server) stop() error {
	if s.cmd == nil {
		return nil
	}
	err := errors.Join(s.sock.Close(), s.cmd.Wait())
	s.sock, s.cmd = nil, nil
	return err
}

// socket is the one that the running program reads calls from.
func (s *Server) socket() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sock != nil {
		return s.sock, nil
	}
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	cmd := exec.Command(s.path, "serve")
	cmd.Env, cmd.Dir = environment, "/"
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // not ended with the daemon's terminal
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the helper of liblxc: %w", err), ours.Close())
	}
	s.sock, s.cmd = ours, cmd
	return ours, nil
}

// lost forgets a program that has ended.
func (s *Server) lost(sock *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sock == sock {
		_ = s.stop()
	}
}

// send hands a message to the program, and to a new one if that has ended.
func (s *Server) send(flags byte, fds []int) error {
	rights := unix.UnixRights(fds...)
	var err error
	for range 2 {
		var sock *os.File
		if sock, err = s.socket(); err != nil {
			return err
		}
		if err = sendmsg(sock, []byte{flags}, rights); err == nil {
			return nil
		}
		s.lost(sock)
	}
	return fmt.Errorf("calling the helper of liblxc: %w", err)
}

// pair makes two connected sockets that keep messages apart: ours takes part in the runtime's polling.
func pair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("sockets of the helper of liblxc: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		_, _ = unix.Close(fds[0]), unix.Close(fds[1])
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "helper"), os.NewFile(uintptr(fds[1]), "helper"), nil
}

func sendmsg(sock *os.File, data, rights []byte) error {
	raw, err := sock.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		for {
			sent = unix.Sendmsg(int(fd), data, rights, nil, unix.MSG_NOSIGNAL)
			if !errors.Is(sent, unix.EINTR) {
				return !errors.Is(sent, unix.EAGAIN)
			}
		}
	})
	return errors.Join(err, sent)
}
