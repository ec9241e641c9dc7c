package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Streams are a job's. Without Stdin its input is empty; what is nil is not kept.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// followEvery is how often a job's output is looked at: there is no event for a file that a guest wrote.
const followEvery = 50 * time.Millisecond

// Run runs a script with the guest's bash, as root in /, and returns its exit status. Any number of jobs may run at once. A job
// whose context ends is left to itself: it ends with the machine.
func (m *Machine) Run(ctx context.Context, script string, s Streams) (int, error) {
	dir, err := os.MkdirTemp(filepath.Join(m.Share(), "jobs"), "")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := writeJob(dir, script, s.Stdin); err != nil {
		return 0, err
	}
	// One short write to a FIFO is never mixed with another's.
	port, err := os.OpenFile(m.path("agent.in"), os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer port.Close()
	if _, err := port.WriteString(filepath.Base(dir) + "\n"); err != nil {
		return 0, err
	}
	out, err := follow(dir, "out", s.Stdout)
	if err != nil {
		return 0, err
	}
	defer out.file.Close()
	errs, err := follow(dir, "err", s.Stderr)
	if err != nil {
		return 0, err
	}
	defer errs.file.Close()
	return m.await(ctx, dir, out, errs)
}

func writeJob(dir, script string, stdin io.Reader) error {
	in, err := os.Create(filepath.Join(dir, "in"))
	if err != nil {
		return err
	}
	if stdin != nil {
		if _, err := io.Copy(in, stdin); err != nil {
			return errors.Join(err, in.Close())
		}
	}
	if err := in.Close(); err != nil {
		return err
	}
	for _, name := range []string{"out", "err"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "cmd"), []byte(script+"\n"), 0o600)
}

// await copies output while it grows, until there is a status.
func (m *Machine) await(ctx context.Context, dir string, outputs ...*output) (int, error) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		// First the status, then the output: what was written before the status is not missed.
		status, err := os.ReadFile(filepath.Join(dir, "rc"))
		for _, o := range outputs {
			if err := o.copy(); err != nil {
				return 0, err
			}
		}
		if err == nil {
			return strconv.Atoi(strings.TrimSpace(string(status)))
		}
		select {
		case <-tick.C:
		case <-m.qemu.done:
			return 0, m.explain(errors.New("QEMU ended while a command ran in the guest"))
		case <-ctx.Done():
			return 0, fmt.Errorf("a command in the guest did not end: %w", context.Cause(ctx))
		}
	}
}

type output struct {
	file *os.File
	to   io.Writer
}

func follow(dir, name string, to io.Writer) (*output, error) {
	file, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	if to == nil {
		to = io.Discard
	}
	return &output{file, to}, nil
}

func (o *output) copy() error {
	_, err := io.Copy(o.to, o.file)
	return err
}
