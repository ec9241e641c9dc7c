package helper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Flags of a message, as serve.c reads them.
const (
	hasStdio = 1 << iota
	isTerminal
	hasLock
)

// maxText bounds a message of the helper (berth-lxc.h: MAX_TEXT and a word).
const maxText = 4096

// Call is something to be done to a container.
type Call struct {
	Args     []string    // verb, liblxc's path, name, configuration, and what the verb takes; none may hold NUL
	Stdio    [3]*os.File // all or none; they stay the caller's
	Terminal bool        // Stdio is a terminal, to be made the controlling one
	Lock     *os.File    // held by the process for as long as it lives
}

// ErrNUL is returned for an argument that cannot be passed to any program.
var ErrNUL = errors.New("an argument holds NUL")

// Process does one call.
type Process struct {
	answer *os.File
	text   [maxText]byte

	mu    sync.Mutex
	pidfd int // -1 once it is closed
}

// helloTime is how long the program may take to begin a call: to fork. One that has not by then stands still.
const helloTime = 15 * time.Second

var errSilent = errors.New("the helper of liblxc does not answer")

// Call begins a call. The process is the caller's to close. A program that does not answer is ended, and the next call starts
// another.
func (s *Server) Call(ctx context.Context, c Call) (*Process, error) {
	return s.begin(ctx, c, helloTime)
}

func (s *Server) begin(ctx context.Context, c Call, limit time.Duration) (*Process, error) {
	request, err := encode(c.Args)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(request) }()
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	flags, files := c.files(theirs)
	fds := append(make([]int, 0, 6), request)
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	bounded, cancel := context.WithTimeoutCause(ctx, limit, errSilent)
	defer cancel()
	sock, err := s.send(bounded, flags, fds)
	_ = theirs.Close()
	p := &Process{answer: ours, pidfd: -1}
	if err == nil {
		err = p.hello(bounded)
	}
	switch {
	case err == nil:
		return p, nil
	case bounded.Err() == nil:
		return nil, errors.Join(err, ours.Close())
	case ctx.Err() == nil:
		s.lost(sock)
		return nil, errors.Join(context.Cause(bounded), ours.Close())
	}
	go s.abandon(p, sock, limit)
	return nil, ctx.Err()
}

// abandon ends a call that nobody wants any more as soon as it begins: the program has its message, maybe, and would do what
// it says.
func (s *Server) abandon(p *Process, sock *os.File, limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_ = p.answer.SetReadDeadline(time.Time{})
	if err := p.hello(ctx); err == nil {
		p.Kill()
	} else if ctx.Err() != nil {
		s.lost(sock)
	}
	p.Close()
}

// files are what is sent with a call after its request.
func (c Call) files(answer *os.File) (flags byte, files []*os.File) {
	files = append(make([]*os.File, 0, 5), answer)
	if c.Stdio[0] != nil {
		flags |= hasStdio
		files = append(files, c.Stdio[:]...)
	}
	if c.Terminal {
		flags |= isTerminal
	}
	if c.Lock != nil {
		flags |= hasLock
		files = append(files, c.Lock)
	}
	return flags, files
}

// encode writes strings, each with a NUL at its end, to memory that has a descriptor.
func encode(args []string) (int, error) {
	size := 0
	for _, a := range args {
		if strings.IndexByte(a, 0) >= 0 {
			return -1, ErrNUL
		}
		size += len(a) + 1
	}
	text := make([]byte, 0, size)
	for _, a := range args {
		text = append(append(text, a...), 0)
	}
	fd, err := unix.MemfdCreate("call", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("request to the helper of liblxc: %w", err)
	}
	if n, err := unix.Write(fd, text); err != nil || n != len(text) {
		return -1, errors.Join(fmt.Errorf("request to the helper of liblxc: %d of %d bytes", n, len(text)), err, unix.Close(fd))
	}
	return fd, nil
}

func (p *Process) hello(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.answer.SetReadDeadline(time.Now()) })
	m, err := p.Next()
	if !stop() && err == nil {
		m.Close()
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	if m.Word != "hello" {
		m.Close()
		return fmt.Errorf("calling the helper of liblxc: %s", m.Text)
	}
	p.pidfd = m.Fd
	return nil
}

// Refusal is what the helper says when liblxc does not do what it is asked.
type Refusal struct{ Text string }

func (r *Refusal) Error() string { return r.Text }

// Message is a part of an answer.
type Message struct {
	Word, Text string
	Fd         int // a descriptor that came with it and is the receiver's; or -1
}

// Close closes the message's descriptor.
func (m *Message) Close() {
	if m.Fd >= 0 {
		_ = unix.Close(m.Fd)
		m.Fd = -1
	}
}

// errEnded says that a process ended without a word.
var errEnded = errors.New("the helper of liblxc ended")

// Next waits for the next part of the answer.
func (p *Process) Next() (Message, error) {
	m := Message{Fd: -1}
	raw, err := p.answer.SyscallConn()
	if err != nil {
		return m, err
	}
	var n, rights int
	var failed error
	var space [64]byte
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, rights, _, _, failed = unix.Recvmsg(int(fd), p.text[:], space[:], unix.MSG_CMSG_CLOEXEC)
			if !errors.Is(failed, unix.EINTR) {
				return !errors.Is(failed, unix.EAGAIN)
			}
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return m, fmt.Errorf("answer of the helper of liblxc: %w", err)
	}
	m.Fd = descriptor(space[:rights])
	if n == 0 {
		m.Close()
		return m, errEnded
	}
	m.Word, m.Text, _ = strings.Cut(string(p.text[:n]), " ")
	return m, nil
}

func descriptor(rights []byte) int {
	if len(rights) == 0 {
		return -1
	}
	headers, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(headers) != 1 {
		return -1
	}
	fds, err := unix.ParseUnixRights(&headers[0])
	if err != nil || len(fds) != 1 {
		return -1
	}
	return fds[0]
}

// Result waits for the answer of a call that has only one part.
func (p *Process) Result() (string, error) {
	m, err := p.result()
	m.Close()
	return m.Text, err
}

func (p *Process) result() (Message, error) {
	m, err := p.Next()
	if err == nil && m.Word != "done" {
		err = &Refusal{m.Text}
	}
	return m, err
}

// Do makes a call that has one answer and waits for that; the end of ctx ends its process.
func (s *Server) Do(ctx context.Context, c Call) (string, error) {
	m, err := s.do(ctx, c)
	m.Close()
	return m.Text, err
}

// File is Do for a call whose answer is a descriptor.
func (s *Server) File(ctx context.Context, c Call) (*os.File, error) {
	m, err := s.do(ctx, c)
	if err == nil && m.Fd < 0 {
		err = fmt.Errorf("calling the helper of liblxc: %s brought no descriptor", c.Args[0])
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return os.NewFile(uintptr(m.Fd), c.Args[0]), nil
}

func (s *Server) do(ctx context.Context, c Call) (Message, error) {
	p, err := s.Call(ctx, c)
	if err != nil {
		return Message{Fd: -1}, err
	}
	defer p.Close()
	defer context.AfterFunc(ctx, p.End)()
	m, err := p.result()
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return m, err
}

// killTime is how long a process that was killed is waited for. One that the kernel keeps, as by a disk that hangs, stays.
const killTime = 5 * time.Second

// End kills the process and bounds the wait for what it still says.
func (p *Process) End() {
	p.Kill()
	_ = p.answer.SetReadDeadline(time.Now().Add(killTime))
}

// Kill ends the process, but not what it has started.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd >= 0 {
		_ = unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0)
	}
}

// Close forgets the process; it does not end it.
func (p *Process) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd >= 0 {
		_ = unix.Close(p.pidfd)
		p.pidfd = -1
	}
	_ = p.answer.Close()
}
