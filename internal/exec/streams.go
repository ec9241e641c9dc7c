package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// streams are the two sides of a command's standard files.
type streams struct {
	in, out, err           *os.File // the command's
	stdin, stdout, stderr  *os.File // ours
	resize                 func(size) error
	closeOurs, closeTheirs []*os.File
}

func pipeStreams() (*streams, error) {
	s := &streams{}
	make := func(theirs, ours **os.File, forward bool) error {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		// A larger pipe is only quicker; where the kernel refuses, the usual one does.
		if raw, err := w.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipe) })
		}
		*theirs, *ours = r, w
		if forward {
			*theirs, *ours = w, r
		}
		s.closeTheirs, s.closeOurs = append(s.closeTheirs, *theirs), append(s.closeOurs, *ours)
		return nil
	}
	err := errors.Join(make(&s.in, &s.stdin, false), make(&s.out, &s.stdout, true), make(&s.err, &s.stderr, true))
	if err != nil {
		s.started()
		s.close()
		return nil, err
	}
	return s, nil
}

func terminalStreams(ctx context.Context, rt Runtime, id string, window size) (*streams, error) {
	controller, terminal, err := rt.Terminal(ctx, id)
	if err != nil {
		return nil, err
	}
	s := &streams{
		in: terminal, out: terminal, err: terminal, stdin: controller, stdout: controller,
		closeTheirs: []*os.File{terminal}, closeOurs: []*os.File{controller},
	}
	s.resize = func(w size) error { return setWindow(controller, w) }
	if window.width > 0 && window.height > 0 {
		if err := s.resize(window); err != nil {
			s.started()
			s.close()
			return nil, fmt.Errorf("window: %w", err)
		}
	}
	return s, nil
}

// started closes what is the command's alone.
func (s *streams) started() {
	for _, f := range s.closeTheirs {
		_ = f.Close()
	}
}

func (s *streams) close() {
	for _, f := range s.closeOurs {
		_ = f.Close()
	}
}

// drainTime is how long a terminal's output may take to arrive after the command has ended. The kernel hands it over
// by itself; only whoever else holds the terminal keeps it from ending at once.
const drainTime = 50 * time.Millisecond

// drain lets the reader of a terminal have what is there, and then ends it.
func (s *streams) drain() { _ = s.stdout.SetReadDeadline(time.Now().Add(drainTime)) }

// endInput ends writes to the command's standard input.
func (s *streams) endInput() { _ = s.stdin.SetWriteDeadline(time.Now()) }

// abort ends the readers at once.
func (s *streams) abort() {
	for _, f := range s.closeOurs {
		_ = f.SetDeadline(time.Now())
	}
}

func setWindow(terminal *os.File, w size) error {
	if w.width <= 0 || w.height <= 0 || w.width > 1<<15 || w.height > 1<<15 {
		return nil
	}
	raw, err := terminal.SyscallConn()
	if err != nil {
		return err
	}
	var ioctl error
	err = raw.Control(func(fd uintptr) {
		ioctl = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(w.height), Col: uint16(w.width)})
	})
	return errors.Join(err, ioctl)
}
