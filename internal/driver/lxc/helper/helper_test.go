package helper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/driver/lxc/helper/helpertest"
)

var program string

// TestMain builds berth-lxc with the compiler's checks of memory and undefined behaviour.
func TestMain(m *testing.M) {
	os.Exit(helpertest.Main(m, &program, "CFLAGS=-g -fsanitize=address,undefined -fno-sanitize-recover=all"))
}

func newServer(t *testing.T) *Server {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: liblxc's folders are root's")
	}
	s := New(program)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("the helper ended badly: %v", err)
		}
	})
	return s
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // many at once, on a machine that has much else to do
	t.Cleanup(cancel)
	return ctx
}

// check has liblxc read a configuration.
func check(t *testing.T, s *Server, text string) error {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := s.Do(bounded(t), Call{Args: []string{"check", t.TempDir(), "c1", config}})
	return err
}

func TestCheck(t *testing.T) {
	s := newServer(t)
	if err := check(t, s, "lxc.uts.name = c1\n"); err != nil {
		t.Error(err)
	}
	var refused *Refusal
	if err := check(t, s, "lxc.no.such.key = 1\n"); !errors.As(err, &refused) {
		t.Errorf("a wrong configuration: %v, want a refusal", err)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	s := newServer(t)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			text, want := "lxc.uts.name = c1\n", false
			if i%2 == 1 {
				text, want = "lxc.no.such.key = 1\n", true
			}
			if err := check(t, s, text); (err != nil) != want {
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if children := childrenOf(t, s.cmd.Process.Pid); len(children) > 0 {
		// Each is reaped at the latest when the next call wakes the server.
		if err := check(t, s, ""); err != nil {
			t.Error(err)
		}
	}
}

func childrenOf(t *testing.T, pid int) []string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(raw))
}

// A fault in the program is no reason to have none from then on.
func TestAnotherServerTakesOver(t *testing.T) {
	s := newServer(t)
	if err := check(t, s, ""); err != nil {
		t.Fatal(err)
	}
	first := s.cmd.Process
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, first.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if err := check(t, s, ""); err != nil {
		t.Errorf("after the helper was killed: %v", err)
	}
	if s.cmd.Process.Pid == first.Pid {
		t.Error("no other helper was started")
	}
}

func TestNoProgram(t *testing.T) {
	s := New(filepath.Join(t.TempDir(), "nothing"))
	if _, err := s.Call(t.Context(), Call{Args: []string{"check"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that the program does not exist", err)
	}
}

// A console session is a call that lasts: with no container behind it, it ends at once and says so.
func TestRefusals(t *testing.T) {
	s := newServer(t)
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	to := []string{t.TempDir(), "c1", config}
	for name, args := range map[string][]string{
		"nothing":                    {""},
		"no container":               {"check"},
		"no such verb":               append([]string{"dance"}, to...),
		"no such configuration":      {"check", t.TempDir(), "c1", "/nothing/here"},
		"device without a rule":      append(append([]string{"device"}, to...), "allow"),
		"device neither way":         append(append([]string{"device"}, to...), "maybe", "c 1:1 rwm"),
		"command without anything":   append([]string{"exec"}, to...),
		"command with a bad user":    append(append([]string{"exec"}, to...), "-1", "0", "/", "0", "true"),
		"command of user nobody has": append(append([]string{"exec"}, to...), "4294967295", "0", "/", "0", "true"),
		"too many entries":           append(append([]string{"exec"}, to...), "0", "0", "/", "2", "A=b", "true"),
		"entries without end":        append(append([]string{"exec"}, to...), "0", "0", "/", "99999999999999999999", "true"),
		"nothing runs there":         append(append([]string{"exec"}, to...), "0", "0", "/", "1", "A=b", "true"),
	} {
		var refused *Refusal
		if _, err := s.Do(bounded(t), Call{Args: args}); !errors.As(err, &refused) || refused.Text == "" {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	if _, err := s.Call(t.Context(), Call{Args: []string{"check", "a\x00b"}}); !errors.Is(err, ErrNUL) {
		t.Errorf("NUL: %v", err)
	}
}

// raw sends a request as it is.
func raw(t *testing.T, s *Server, flags byte, request string, more ...int) (string, error) {
	t.Helper()
	fd, err := unix.MemfdCreate("raw", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(request)); err != nil {
		t.Fatal(err)
	}
	ours, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	_, err = s.send(t.Context(), flags, append([]int{fd, int(theirs.Fd())}, more...))
	_ = theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{answer: ours, pidfd: -1}
	if err := p.hello(t.Context()); err != nil {
		return "", err
	}
	defer p.Close()
	return p.Result()
}

func TestMalformedRequests(t *testing.T) {
	s := newServer(t)
	for name, request := range map[string]string{"empty": "", "no NUL at its end": "check\x00a", "only NULs": "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		var refused *Refusal
		if _, err := raw(t, s, 0, request); !errors.As(err, &refused) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	// A message without the descriptors that its flags announce, or with one too many, is dropped with all it brought.
	if _, err := raw(t, s, hasStdio, "check\x00"); !errors.Is(err, errEnded) {
		t.Errorf("missing descriptors: %v", err)
	}
	if _, err := raw(t, s, 0, "check\x00", 0); !errors.Is(err, errEnded) {
		t.Errorf("one descriptor too many: %v", err)
	}
	if err := check(t, s, ""); err != nil {
		t.Errorf("the helper after malformed requests: %v", err)
	}
}

// stuck begins a call that waits until somebody writes its configuration.
func stuck(t *testing.T, s *Server) (p *Process, fifo string) {
	t.Helper()
	fifo = filepath.Join(t.TempDir(), "config")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := s.Call(t.Context(), Call{Args: []string{"check", t.TempDir(), "c1", fifo}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, fifo
}

func TestKill(t *testing.T) {
	s := newServer(t)
	p, _ := stuck(t, s)
	p.Kill()
	if _, err := p.Result(); !errors.Is(err, errEnded) {
		t.Errorf("a killed call: %v", err)
	}
}

// The daemon may end while a container is being started.
func TestCallsOutliveTheServer(t *testing.T) {
	s := newServer(t)
	p, fifo := stuck(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fifo, []byte("lxc.uts.name = c1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Result(); err != nil {
		t.Errorf("a call after its server's end: %v", err)
	}
}

// stopped is a server whose program stands still, as one does that somebody or a debugger has stopped.
func stopped(t *testing.T) (s *Server, program *os.Process) {
	t.Helper()
	s = newServer(t)
	if err := check(t, s, ""); err != nil {
		t.Fatal(err)
	}
	program = s.cmd.Process
	if err := program.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return s, program
}

// within fails a test whose function takes too long.
func within(t *testing.T, limit time.Duration, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatal("it does not end")
	}
}

func TestAProgramThatStandsStillIsReplaced(t *testing.T) {
	s, first := stopped(t)
	within(t, 10*time.Second, func() {
		if _, err := s.begin(t.Context(), Call{Args: []string{"check"}}, 50*time.Millisecond); !errors.Is(err, errSilent) {
			t.Errorf("a call of a program that stands still: %v", err)
		}
		if err := check(t, s, ""); err != nil {
			t.Errorf("the next call: %v", err)
		}
	})
	if s.cmd.Process.Pid == first.Pid {
		t.Error("no other helper was started")
	}
}

// A full socket is as good as none: what is sent to a program that stands still waits in it.
func TestAFullSocketIsNotWaitedForWithoutEnd(t *testing.T) {
	s, _ := stopped(t)
	within(t, 30*time.Second, func() {
		for ctx := bounded(t); ; {
			sock, err := s.socket()
			if err != nil {
				t.Error(err)
				return
			}
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			err = sendmsg(short, sock, make([]byte, 1), nil)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				break
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
		if _, err := s.begin(t.Context(), Call{Args: []string{"check"}}, 50*time.Millisecond); !errors.Is(err, errSilent) {
			t.Errorf("a call through a full socket: %v", err)
		}
	})
}

// What was asked for a caller that has left is not done once the program goes on.
func TestACallerThatLeavesDoesNotWait(t *testing.T) {
	s, program := stopped(t)
	fifo := filepath.Join(t.TempDir(), "config") // the call would wait for who writes it
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	within(t, 5*time.Second, func() {
		if _, err := s.Call(ctx, Call{Args: []string{"check", t.TempDir(), "c1", fifo}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	if err := program.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; {
		if err := check(t, s, ""); err != nil { // which reaps what has ended
			t.Fatalf("after it goes on: %v", err)
		}
		if len(childrenOf(t, program.Pid)) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a call that nobody waits for goes on")
		}
	}
}

func TestCloseDoesNotWaitForAProgramThatStandsStill(t *testing.T) {
	s, _ := stopped(t)
	within(t, 10*time.Second, func() {
		if err := s.Close(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("the program that stood still ended as %v", err)
		}
	})
}

// A guest that gets hold of a process of the program has nothing to write to; see sealed.
func TestTheProgramIsSealed(t *testing.T) {
	s := newServer(t)
	p, _ := stuck(t, s)
	defer p.Kill()
	for _, pid := range append(childrenOf(t, s.cmd.Process.Pid), fmt.Sprint(s.cmd.Process.Pid)) {
		exe := "/proc/" + pid + "/exe"
		f, err := os.Open(exe)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		const all = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
		if seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err != nil || seals&all != all {
			t.Errorf("%s runs from a file that can be written to: seals %#x, %v", exe, seals, err)
		}
		if w, err := os.OpenFile(exe, os.O_WRONLY, 0); err == nil {
			if _, err := w.Write([]byte("x")); err == nil {
				t.Errorf("%s was overwritten", exe)
			}
			_ = w.Close()
		}
		if name, err := os.ReadFile("/proc/" + pid + "/comm"); err != nil || string(name) != "berth-lxc\n" {
			t.Errorf("the process is called %q, %v", name, err)
		}
	}
}

// The same where memory cannot be run.
func TestAProgramOpenedReadOnly(t *testing.T) {
	f, err := readOnly(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	path := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	if _, err := os.OpenFile(path, os.O_WRONLY, 0); !errors.Is(err, unix.EROFS) {
		t.Errorf("opened for writing: %v", err)
	}
	if out, err := exec.Command(path, "version").Output(); err != nil || len(out) < 2 {
		t.Errorf("it does not run: %q, %v", out, err)
	}
}
