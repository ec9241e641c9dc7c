package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/schollz/progressbar/v3"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// redraw is the least time between two states of a progress line: more often nobody can read, and each costs the terminal work.
const redraw = 100 * time.Millisecond

// progress shows the state of long work on one line of a terminal. Into a file or a pipe it writes nothing.
type progress struct {
	c      *App
	format string // takes the message, e.g. "Retrieving image: %s"; empty: the message alone

	mu    sync.Mutex
	width int       // of what is on the line now, in columns
	last  time.Time // when it was drawn
	bar   *progressbar.ProgressBar
	done  bool
}

// newProgress makes a line that shows messages in a format with one %s.
func (c *App) newProgress(format string) *progress { return &progress{c: c, format: format} }

func (p *progress) silent() bool { return p.c.flagQuiet || !isTerminal(p.c.Out) }

// update shows a message in place of the last one, unless that is quite new.
func (p *progress) update(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done || p.silent() || time.Since(p.last) < redraw {
		return
	}
	p.last = time.Now()
	if p.format != "" {
		message = fmt.Sprintf(p.format, message)
	}
	p.show(message)
}

// columns is how wide the terminal is.
func (p *progress) columns() int {
	if w, _, err := terminalSize(p.c.Out); err == nil && w > 1 {
		return w
	}
	return 80
}

func (p *progress) show(message string) {
	message = runewidth.Truncate(printable(message), p.columns()-1, "")
	width := runewidth.StringWidth(message)
	fmt.Fprint(p.c.Out, "\r"+message+strings.Repeat(" ", max(p.width-width, 0)))
	p.width = width
}

// finish clears the line and, when there is a last message, leaves that one.
func (p *progress) finish(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return
	}
	p.done = true
	if p.bar != nil {
		_ = p.bar.Clear()
	}
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

// transferred shows how much of a size (bytes, or -1 where it is not known) has passed, how fast, and how long the rest takes.
func (p *progress) transferred(n, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done || p.silent() {
		return
	}
	now := time.Now()
	if p.bar == nil {
		p.bar, p.last = p.newBar(size), now // nothing is known of the rate yet
	}
	if now.Sub(p.last) < redraw {
		return
	}
	p.last = now
	if size > 0 {
		n = min(n, size) // a file may grow meanwhile
	}
	_ = p.bar.Set64(n)
}

// barColumns is what everything but the description takes of the line, at most.
const barColumns = 64

func (p *progress) newBar(size int64) *progressbar.ProgressBar {
	if size == 0 {
		size = 1 // else nothing is done, and that is 0 of 0
	}
	description := strings.TrimSuffix(fmt.Sprintf(p.format, ""), ": ")
	bar := progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(p.c.Out),
		progressbar.OptionSetDescription(runewidth.Truncate(printable(description), max(p.columns()-barColumns, 10), "…")),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowCount(),
		progressbar.OptionShowTotalBytes(true),
		progressbar.OptionSetWidth(10),
		progressbar.OptionSetSpinnerChangeInterval(0), // else it draws by itself
		progressbar.OptionClearOnFinish(),
	)
	bar.StartWithoutRender()
	return bar
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
	switch {
	case aborted:
		err = errors.New(T("User aborted operation"))
	case op.State().StatusCode == api.Cancelled:
		err = errCancelled // and not what the work met with when it was
	}
	if p != nil {
		p.finish("")
	}
	c.warn(op.State())
	return err
}

// warn shows what an operation had to leave out.
func (c *App) warn(state api.Operation) {
	warnings, _ := state.Metadata["warnings"].([]any)
	for _, w := range warnings {
		if text, ok := w.(string); ok {
			fmt.Fprintf(c.Err, T("Warning: %s")+"\n", printable(text))
		}
	}
}

// errCancelled is for work that was cancelled and has left nothing.
var errCancelled = errors.New(T("Cancelled"))

// waitStarted is waitOp for what client calls return.
func (c *App) waitStarted(op *client.Operation, err error) error {
	if err != nil {
		return err
	}
	return c.waitOp(op, nil)
}
