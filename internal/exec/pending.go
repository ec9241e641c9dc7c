package exec

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/runtime"
)

// pending is a command that may still be on its way into the instance. That can take for ever: its folder may be on a file system of the
// guest's that does not answer. A signal which would end the command, its client's end too, ends the way there.
type pending struct {
	runtime.Command // nil until it is there

	mu     sync.Mutex
	cancel context.CancelFunc // ends the way there
	signal int                // which has
}

// harmless are the signals that end no process which has not asked for it.
var harmless = []unix.Signal{unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH, unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU}

// begin returns the context of the way there.
func (p *pending) begin(ctx context.Context) context.Context {
	ctx, p.cancel = context.WithCancel(ctx)
	return ctx
}

// attached ends the way there, with the command or without.
func (p *pending) attached(c runtime.Command, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.Command = c
		if p.signal != 0 { // it has come too late
			_ = c.Signal(p.signal)
		}
	}
	p.cancel()
	return err
}

// Signal implements runtime.Command.
func (p *pending) Signal(sig int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Command != nil {
		return p.Command.Signal(sig)
	}
	if !slices.Contains(harmless, unix.Signal(sig)) {
		p.signal = sig
		p.cancel()
	}
	return nil
}

// endedBy tells whether a signal has ended the way there, and the exit status that a shell gives for it.
func (p *pending) endedBy() (ended bool, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signal != 0, 128 + p.signal
}
