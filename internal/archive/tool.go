package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// nobody is the user that filters run as: the kernel's overflow user, who owns nothing.
const nobody = 65534

// toolCommand is a program that reads or writes an archive: with an environment that says nothing, and out of reach of the terminal.
func toolCommand(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// filterCommand is a tool that reads its standard input and writes its standard output. It is a parser in C and gets what
// strangers made: as those two are all that it needs, it runs as nobody.
func filterCommand(ctx context.Context, stdin io.Reader, path string, args ...string) *exec.Cmd {
	cmd := toolCommand(ctx, path, args...)
	cmd.Stdin = stdin
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// tool runs a program that writes the tar stream to its standard output.
func (r *Reader) tool(cmd *exec.Cmd) error {
	said := &complaint{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := &eofWatcher{r: out}
	r.Reader = ended
	r.close = func() error {
		if !ended.eof {
			_ = cmd.Cancel() // given up on: its exit says nothing then
		}
		if err := cmd.Wait(); err != nil && ended.eof {
			return fmt.Errorf("read %s archive: %w: %s", r.Format, err, said)
		}
		return nil
	}
	return nil
}

type eofWatcher struct {
	r   io.Reader
	eof bool
}

func (w *eofWatcher) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if errors.Is(err, io.EOF) {
		w.eof = true
	}
	return n, err
}

// complaint keeps the beginning of what a tool says is wrong.
type complaint struct{ said bytes.Buffer }

// Write implements io.Writer.
func (c *complaint) Write(p []byte) (int, error) {
	c.said.Write(p[:min(len(p), 4096-c.said.Len())])
	return len(p), nil
}

func (c *complaint) String() string { return strings.TrimSpace(c.said.String()) }
