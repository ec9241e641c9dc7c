package harness

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// Terminal is a program that runs on a pseudo-terminal of its own, as under a user's hands.
type Terminal struct {
	t    testing.TB
	cmd  *exec.Cmd
	file *os.File
	ends chan error

	mu     sync.Mutex
	screen strings.Builder
}

// OnTerminal starts a program as a client of this daemon on a terminal of 24 lines and 80 columns.
func (d *Daemon) OnTerminal(name string, args ...string) *Terminal {
	d.T.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(d.Environ(), "TERM=xterm")
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		d.T.Fatal(err)
	}
	x := &Terminal{t: d.T, cmd: cmd, file: f, ends: make(chan error, 1)}
	go x.read()
	d.T.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = f.Close()
	})
	return x
}

func (x *Terminal) read() {
	buf := make([]byte, 32<<10)
	for {
		n, err := x.file.Read(buf)
		x.mu.Lock()
		x.screen.Write(buf[:n])
		x.mu.Unlock()
		if err != nil {
			break // EIO, once the last program on it has ended
		}
	}
	x.ends <- x.cmd.Wait()
}

// Screen is all that was written to the terminal so far, carriage returns and all.
func (x *Terminal) Screen() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.screen.String()
}

// Until waits until the screen has a text.
func (x *Terminal) Until(text string) {
	x.t.Helper()
	end := time.Now().Add(Slow(30 * time.Second))
	for !strings.Contains(x.Screen(), text) {
		if time.Now().After(end) {
			x.t.Fatalf("%q does not appear on the terminal: %q", text, x.Screen())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Type sends keys.
func (x *Terminal) Type(keys string) {
	x.t.Helper()
	if _, err := x.file.WriteString(keys); err != nil {
		x.t.Fatal(err)
	}
}

// Resize gives the terminal another size.
func (x *Terminal) Resize(rows, columns uint16) {
	x.t.Helper()
	if err := pty.Setsize(x.file, &pty.Winsize{Rows: rows, Cols: columns}); err != nil {
		x.t.Fatal(err)
	}
}

// End waits for the program's end and returns its exit status.
func (x *Terminal) End() int {
	x.t.Helper()
	select {
	case err := <-x.ends:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			x.t.Fatal(err)
		}
		return x.cmd.ProcessState.ExitCode()
	case <-time.After(Slow(Limit)):
		x.t.Fatalf("the program does not end: %q", x.Screen())
		return -1
	}
}
