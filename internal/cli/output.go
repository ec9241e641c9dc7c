package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// output is standard output. It remembers that a write failed: a list that went to a full disk has not been shown, and the many that
// print need not look after each line.
type output struct {
	w io.Writer

	mu  sync.Mutex
	err error
}

// checked makes w an output, unless it is one.
func checked(w io.Writer) *output {
	if o, ok := w.(*output); ok {
		return o
	}
	return &output{w: w}
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		o.mu.Lock()
		if o.err == nil {
			o.err = err
		}
		o.mu.Unlock()
	}
	return n, err
}

// failure is the first error of a write.
func (o *output) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// fileOf is the file behind a stream of an App, for questions about terminals; nil in tests.
func fileOf(stream any) *os.File {
	if o, ok := stream.(*output); ok {
		stream = o.w
	}
	f, _ := stream.(*os.File)
	return f
}

// report shows why a command failed, and gives its exit status. What could not be written is a failure, too, if only once.
func (c *App) report(err error) int {
	unwritten := c.Out.(*output).failure()
	switch {
	case err != nil && !errors.Is(err, errDone):
	case unwritten != nil:
		err, c.ret = unwritten, 0
	default:
		return c.ret
	}
	fmt.Fprintf(c.Err, "Error: %s\n", printable(err.Error()))
	if hint := hintFor(err); hint != "" {
		fmt.Fprintf(c.Err, T("Hint: %s")+"\n", printable(hint))
	}
	if c.ret != 0 && unwritten == nil {
		return c.ret
	}
	return 1
}
