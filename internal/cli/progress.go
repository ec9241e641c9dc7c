package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// progress shows the state of long work on one line of a terminal. Into a file or a pipe it writes nothing.
type progress struct {
	c      *App
	format string // takes the message, e.g. "Retrieving image: %s"; empty: the message alone

	mu    sync.Mutex
	width int // of what is on the line now
	done  bool
}

// newProgress makes a line that shows messages in a format with one %s.
func (c *App) newProgress(format string) *progress { return &progress{c: c, format: format} }

func (p *progress) silent() bool { return p.c.flagQuiet || !isTerminal(p.c.Out) }

// update shows a message in place of the last one.
func (p *progress) update(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done || p.silent() {
		return
	}
	if p.format != "" {
		message = fmt.Sprintf(p.format, message)
	}
	p.show(message)
}

func (p *progress) show(message string) {
	if w, _, err := term.GetSize(int(fileOf(p.c.Out).Fd())); err == nil && w > 1 && len(message) >= w {
		message = message[:w-1]
	}
	pad := ""
	if n := p.width - len(message); n > 0 {
		pad = strings.Repeat(" ", n)
	}
	fmt.Fprint(p.c.Out, "\r"+message+pad)
	p.width = len(message)
}

// finish clears the line and, when there is a last message, leaves that one.
func (p *progress) finish(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return
	}
	p.done = true
	if !p.silent() && p.width > 0 {
		p.show("")
		fmt.Fprint(p.c.Out, "\r")
	}
	if message != "" && !p.c.flagQuiet {
		fmt.Fprintln(p.c.Out, message)
	}
}

// operation shows the progress that an operation reports in its metadata.
func (p *progress) operation(state api.Operation) {
	for key, value := range state.Metadata {
		if !strings.HasSuffix(key, "_progress") {
			continue
		}
		if text, ok := value.(string); ok {
			p.update(text)
			return
		}
	}
}

// transferred shows how much of a size (bytes, or -1) was transferred since start.
func (p *progress) transferred(n, size int64, start time.Time) {
	rate := ""
	if s := time.Since(start).Seconds(); s > 0 {
		rate = byteSize(int64(float64(n)/s), 2) + "/s"
	}
	if size > 0 {
		p.update(fmt.Sprintf("%d%% (%s)", n*100/size, rate))
		return
	}
	p.update(fmt.Sprintf("%s (%s)", byteSize(n, 2), rate))
}

// waitOp waits for an operation, showing its progress if p is not nil. The first Ctrl-C asks the server to cancel, the third gives up waiting.
func (c *App) waitOp(op *client.Operation, p *progress) error {
	if p != nil && !p.silent() {
		op.OnUpdate(p.operation)
	}
	ctx, cancel := context.WithCancel(background())
	defer cancel()
	aborted := false
	stop := interrupts(func(count int) {
		if err := op.Cancel(); err == nil {
			return
		}
		switch {
		case count >= 3:
			aborted = true
			cancel()
		default:
			fmt.Fprintf(c.Err, T("Remote operation can't be cancelled (interrupt %d more times to force)")+"\n", 3-count)
		}
	})
	err := op.Wait(ctx)
	stop()
	if aborted {
		err = errors.New(T("User aborted operation"))
	}
	if p != nil {
		p.finish("")
	}
	return err
}

// waitStarted is waitOp for what client calls return.
func (c *App) waitStarted(op *client.Operation, err error) error {
	if err != nil {
		return err
	}
	return c.waitOp(op, nil)
}
