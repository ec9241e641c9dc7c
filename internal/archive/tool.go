package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/berthd/berth/internal/sandbox"
)

// filterCommand is a tool that reads its standard input and writes its standard output. It is a parser in C and gets what
// strangers made, so it runs in a sandbox: as nobody, and bounded in memory and time.
func filterCommand(ctx context.Context, stdin io.Reader, path string, args ...string) (*sandbox.Cmd, error) {
	cmd, err := sandbox.Tool(ctx, sandbox.Limits{}, path, args...)
	if err != nil {
		return nil, err
	}
	cmd.Stdin = stdin
	return cmd, nil
}

// fileCommand is a tool that opens the file f by itself, to seek in it, by the name fileName. It runs as filterCommand does.
func fileCommand(ctx context.Context, f *os.File, output int64, path string, args ...string) (*sandbox.Cmd, error) {
	cmd, err := sandbox.Tool(ctx, sandbox.Limits{Output: output}, path, args...)
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{f}
	return cmd, nil
}

// fileName is the file of fileCommand. No tool gets a file's own name.
const fileName = "/proc/self/fd/3"

// tool runs a program that writes the tar stream to its standard output.
func (r *Reader) tool(cmd *sandbox.Cmd) error {
	said := &sandbox.Complaint{}
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
