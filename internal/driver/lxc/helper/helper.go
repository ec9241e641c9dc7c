// Package helper is the daemon's end of berth-lxc, the program that links liblxc.
//
// The program is started once, when it is first needed, and forks a process for each call. A process ends with its
// call; a fault in it, or in liblxc, is an error of that call and of nothing else.
package helper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

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

// endTime is how long the program may take to end by itself once its socket is closed.
const endTime = time.Second

// Close ends the program, by force if it does not end by itself. Calls under way go on.
func (s *Server) Close() error {
	s.mu.Lock()
	sock := s.sock
	s.mu.Unlock()
	cmd, err := s.release(sock)
	if cmd == nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for _, wait := range []time.Duration{endTime, endTime} {
		late := time.NewTimer(wait)
		select {
		case ending := <-ended:
			late.Stop()
			return errors.Join(err, ending)
		case <-late.C:
			_ = cmd.Process.Kill()
		}
	}
	return errors.Join(err, errors.New("the helper of liblxc does not end"))
}

// release forgets the program behind a socket: the next call starts another. It is the caller's to wait for; nil if it has been
// forgotten already.
func (s *Server) release(sock *os.File) (*exec.Cmd, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sock != sock || s.cmd == nil {
		return nil, nil
	}
	cmd := s.cmd
	s.cmd, s.sock = nil, nil
	return cmd, sock.Close()
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
	program, err := guarded(s.path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the helper of liblxc: %w", err), ours.Close())
	}
	defer func() { _ = program.Close() }()
	cmd := exec.Command(fmt.Sprintf("/proc/self/fd/%d", program.Fd()), "serve")
	cmd.Args[0] = s.path
	cmd.Env, cmd.Dir = environment, "/"
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // not ended with the daemon's terminal
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the helper of liblxc: %w", err), ours.Close())
	}
	s.sock, s.cmd = ours, cmd
	return ours, nil
}

// lost forgets a program that has ended, or that does not answer any more and is ended.
func (s *Server) lost(sock *os.File) {
	if cmd, _ := s.release(sock); cmd != nil {
		_ = cmd.Process.Kill()
		go func() { _ = cmd.Wait() }() // it is not known how long one takes to die whose disk hangs
	}
}

// send hands a message to the program, and to a new one if that has ended. It returns the socket that took it.
func (s *Server) send(ctx context.Context, flags byte, fds []int) (*os.File, error) {
	rights := unix.UnixRights(fds...)
	var err error
	for range 2 {
		var sock *os.File
		if sock, err = s.socket(); err != nil {
			return nil, err
		}
		if err = sendmsg(ctx, sock, []byte{flags}, rights); err == nil || ctx.Err() != nil {
			return sock, err
		}
		s.lost(sock)
	}
	return nil, fmt.Errorf("calling the helper of liblxc: %w", err)
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

// fullPause is how long to wait before the next look at a socket that is full: only one of a program that stands still is.
const fullPause = 10 * time.Millisecond

// sendmsg sends a message. It does not wait by the file's deadline, which all calls have in common.
func sendmsg(ctx context.Context, sock *os.File, data, rights []byte) error {
	raw, err := sock.SyscallConn()
	if err != nil {
		return err
	}
	for {
		var sent error
		err := raw.Control(func(fd uintptr) {
			for {
				sent = unix.Sendmsg(int(fd), data, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
				if !errors.Is(sent, unix.EINTR) {
					return
				}
			}
		})
		if !errors.Is(sent, unix.EAGAIN) {
			return errors.Join(err, sent)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(fullPause):
		}
	}
}
