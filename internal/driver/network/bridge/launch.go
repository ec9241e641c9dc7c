package bridge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/internal/fault"
)

// Instants of a start of dnsmasq.
var (
	dnsmasqStarted  = fault.New("network.dnsmasq.started")
	dnsmasqRecorded = fault.New("network.dnsmasq.recorded")
	dnsmasqReleased = fault.New("network.dnsmasq.released")
)

// startWait bounds how long dnsmasq may take to open its sockets, on a busy machine; readyCheck is how long to wait for the end of
// its standard error before looking for its PID file as well.
const (
	startWait  = 30 * time.Second
	readyCheck = 2 * time.Second
)

// maxComplaint bounds what is kept of dnsmasq's standard error, in bytes.
const maxComplaint = 16 << 10

// startDnsmasq runs dnsmasq with the folder locked and none running, and returns once its sockets are open.
//
// dnsmasq never serves without a record of its process. The first thing that it reads is its standard input, which stays
// open and silent until the record is written; the next is a file that is made only then, and only for this start. If the
// daemon ends before, dnsmasq reads the end of its input, does not find that file, and ends too.
func startDnsmasq(ctx context.Context, c Config, args []string) error {
	path, err := exec.LookPath("dnsmasq")
	if err != nil {
		return fmt.Errorf("dnsmasq is required for managed bridges: %w", err)
	}
	word := goFile + "." + rand.Text()
	if err := prepareFiles(c, word); err != nil {
		return err
	}
	defer func() { _ = remove(c.Dir, word) }()
	l, err := launch(ctx, path, c, args)
	if err != nil {
		return fmt.Errorf("start dnsmasq: %w", err)
	}
	defer l.close()
	err = l.register(c, args, word)
	if err == nil {
		err = l.ready(ctx, c.Dir)
	}
	if err != nil {
		return errors.Join(err, l.process.kill(), remove(c.Dir, recordFile), remove(c.Dir, pidFile))
	}
	return nil
}

// prepareFiles writes the files that dnsmasq reads, except the one that lets it go on (word), and removes what earlier starts left.
func prepareFiles(c Config, word string) error {
	old, err := filepath.Glob(filepath.Join(globEscape(c.Dir), goFile+".*"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := ignoreMissing(os.Remove(path)); err != nil {
			return err
		}
	}
	if err := errors.Join(remove(c.Dir, recordFile), remove(c.Dir, pidFile)); err != nil {
		return err
	}
	if c.DNSMode != "dynamic" {
		if err := forgetNames(c.Dir); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(c.Dir, rawFile), raw(c), 0o644); err != nil {
		return err
	}
	// Paths are relative to the folder and so need no quoting. The file is replaced instead of overwritten: a dnsmasq that a
	// killed daemon has started may still be reading the old one.
	conf := fmt.Sprintf("conf-file=-\nconf-file=%s\nconf-file=%s\n", word, rawFile)
	return replaceFile(filepath.Join(c.Dir, "."+confFile), filepath.Join(c.Dir, confFile), []byte(conf))
}

func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// launched is a dnsmasq that waits on its standard input.
type launched struct {
	process *process
	program string   // path of what it runs, or is about to
	input   *os.File // its standard input; closing it lets it go on
	stderr  *os.File // what it says; it closes its end once its sockets are open
}

func launch(ctx context.Context, path string, c Config, args []string) (*launched, error) {
	label, err := confine(ctx, path, c)
	if err != nil {
		return nil, err
	}
	in, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	stderr, errOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, input.Close())
	}
	defer errOut.Close()
	l := &launched{program: path, input: input, stderr: stderr}
	cmd := exec.Command(path)
	cmd.Args, cmd.Dir, cmd.Env = args, c.Dir, []string{"LC_ALL=C"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, errOut, errOut
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // signals of the daemon's terminal must not reach it
	if err := apparmor.Start(cmd, label); err != nil {
		l.close()
		return nil, err
	}
	pid := cmd.Process.Pid
	fd, err := unix.PidfdOpen(pid, 0) // a child nobody has waited for: the PID is its own
	if err != nil {
		err = errors.Join(err, cmd.Process.Kill(), cmd.Wait())
		l.close()
		return nil, err
	}
	l.process = &process{fd: fd, record: processRecord{PID: pid}}
	return l, cmd.Process.Release() // it outlives the daemon; ended reaps it if it does not
}

// register writes the record of the process and lets it go on.
func (l *launched) register(c Config, args []string, word string) error {
	if err := dnsmasqStarted.Hit(); err != nil {
		return err
	}
	r, err := identify(l.process.record.PID, l.program)
	if err != nil {
		return fmt.Errorf("identify dnsmasq: %w", err)
	}
	r.Config = digest(c, args)
	l.process.record = r
	if err := r.write(c.Dir); err != nil {
		return fmt.Errorf("record dnsmasq: %w", err)
	}
	if err := dnsmasqRecorded.Hit(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.Dir, word), nil, 0o644); err != nil {
		return err
	}
	if err := dnsmasqReleased.Hit(); err != nil {
		return err
	}
	return l.input.Close()
}

// ready waits until dnsmasq's sockets are open: it closes its standard error then. A raw configuration may make it log there
// and keep it open; then the PID file, which it writes just before, shows that it is ready.
func (l *launched) ready(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.stderr.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	said := &limited{room: maxComplaint}
	for {
		if ctx.Err() == nil {
			_ = l.stderr.SetReadDeadline(time.Now().Add(readyCheck))
		}
		_, err := io.Copy(said, l.stderr)
		switch {
		case err == nil && l.hasFiles():
			return nil
		case err == nil:
			_ = l.process.gone(ctx, stopWait)
			return fmt.Errorf("The DNS and DHCP service exited prematurely: %q", strings.TrimSpace(said.String()))
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("read what dnsmasq says: %w", err)
		case exists(dir, pidFile):
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("dnsmasq does not get ready: %w (%q)", context.Cause(ctx), strings.TrimSpace(said.String()))
		}
	}
}

// hasFiles tells a process that has closed its standard error from one that is exiting and has closed all of its files.
func (l *launched) hasFiles() bool {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/2", l.process.record.PID))
	return err == nil
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// limited keeps the first of what is written to it.
type limited struct {
	strings.Builder
	room int
}

func (l *limited) Write(p []byte) (int, error) {
	l.Builder.Write(p[:min(len(p), max(l.room-l.Len(), 0))])
	return len(p), nil
}

// close gives back what only the start needs.
func (l *launched) close() {
	_ = l.input.Close()
	_ = l.stderr.Close()
	if l.process != nil {
		l.process.close()
	}
}
