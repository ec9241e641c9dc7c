package exec

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/runtime"
)

// local runs the commands on this machine: what is tested is what comes between them and the client.
type local struct {
	instances map[string]Target
	last      runtime.ExecRequest
	started   chan int // gets the process of each command, if there is room
}

func (l *local) Target(_ context.Context, project, name string) (Target, error) {
	t, ok := l.instances[project+"/"+name]
	if !ok {
		return t, api.NotFound("Instance not found")
	}
	return t, nil
}

func (l *local) Has(_, path string) bool { return path == "snap" }

type localCommand struct{ *osexec.Cmd }

func (c localCommand) PID() int             { return c.Process.Pid }
func (c localCommand) Signal(sig int) error { return c.Process.Signal(syscall.Signal(sig)) }
func (c localCommand) Wait() (int, error) {
	err := c.Cmd.Wait()
	ws := c.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	var exit *osexec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return ws.ExitStatus(), err
}

// missingCommand is one that the runtime finds to be missing only inside the instance.
type missingCommand struct{}

func (missingCommand) PID() int           { return 0 }
func (missingCommand) Signal(int) error   { return syscall.ESRCH }
func (missingCommand) Wait() (int, error) { return 127, runtime.ErrCommandNotFound }

func (l *local) Exec(_ context.Context, _ string, r runtime.ExecRequest) (runtime.Command, error) {
	l.last = r
	c := osexec.Command(r.Command[0], r.Command[1:]...)
	c.Stdin, c.Stdout, c.Stderr = r.Stdin, r.Stdout, r.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: r.Terminal}
	err := c.Start()
	if errors.Is(err, os.ErrNotExist) {
		return missingCommand{}, nil
	}
	if err == nil {
		select {
		case l.started <- c.Process.Pid:
		default:
		}
	}
	return localCommand{c}, err
}

func (l *local) Terminal(context.Context, string) (*os.File, *os.File, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, nil, errno
	}
	return os.NewFile(uintptr(fd), "ptmx"), os.NewFile(peer, "pts"), nil
}

func (l *local) Console(ctx context.Context, _ string) (io.ReadWriteCloser, error) {
	a, b, err := l.Terminal(ctx, "")
	if err != nil {
		return nil, err
	}
	go func() {
		_, _ = io.WriteString(b, "login: ")
		_, _ = io.ReadFull(b, make([]byte, 1))
		_ = b.Close()
	}()
	return a, nil
}

// client is one session as a client sees it.
type client struct {
	*testing.T
	server *httptest.Server
	task   *operation.Task
	done   chan error
	cancel context.CancelFunc
	result map[string]any
	conns  map[string]*websocket.Conn
}

func (c *client) Update(m map[string]any) { c.result = m }

func service(t *testing.T) (*Service, *local) {
	l := &local{started: make(chan int, 1), instances: map[string]Target{
		"default/c1": {ID: "c1", Name: "c1", Project: "default", Status: api.Running, Environment: map[string]string{"A": "instance", "B": "instance"}, Logs: t.TempDir()},
		"default/c2": {ID: "c2", Name: "c2", Project: "default", Status: api.Frozen},
		"default/c3": {ID: "c3", Name: "c3", Project: "default", Status: api.Stopped},
	}}
	return &Service{Instances: l, Runtime: l, Events: event.Nobody{}}, l
}

// open begins a session and connects the named sockets.
func open(t *testing.T, task *operation.Task, names ...string) *client {
	t.Helper()
	c := &client{T: t, task: task, done: make(chan error, 1), conns: map[string]*websocket.Conn{}}
	c.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := task.Connect(r.URL.Query().Get("secret"), w, r); err != nil {
			http.Error(w, err.Error(), api.StatusOf(err))
		}
	}))
	_ = c.server.Listener.Close()
	c.server.Listener = listen(t)
	c.server.Start()
	t.Cleanup(c.server.Close)
	var ctx context.Context
	ctx, c.cancel = context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(c.cancel)
	// All are connected before it runs: a command that ends at once would end the sockets that nobody has opened yet.
	for _, name := range names {
		c.conns[name] = c.dial(task.Metadata["fds"].(map[string]string)[name])
	}
	go func() { c.done <- task.Run(ctx, c) }()
	return c
}

// listen opens a socket as the daemon's is: a write to a peer that is gone fails at once.
func listen(t *testing.T) net.Listener {
	dir, err := os.MkdirTemp("", "exec") // the name of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (c *client) dial(secret string) *websocket.Conn {
	c.Helper()
	conn, _, err := c.tryDial(secret)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (c *client) tryDial(secret string) (*websocket.Conn, *http.Response, error) {
	address := c.server.Listener.Addr()
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return net.Dial(address.Network(), address.String()) }}
	return dialer.Dial("ws://exec/?secret="+secret, nil)
}

// all reads a socket to its end.
func (c *client) all(name string) string {
	var out bytes.Buffer
	for {
		kind, raw, err := c.conns[name].ReadMessage()
		if err != nil || kind == websocket.TextMessage {
			return out.String()
		}
		out.Write(raw)
	}
}

func (c *client) end(want int) {
	c.Helper()
	if err := <-c.done; err != nil {
		c.Fatal(err)
	}
	if got := c.result["return"]; got != want {
		c.Errorf("returned %v, want %d", got, want)
	}
}

func (c *client) send(name string, kind int, text string) {
	c.Helper()
	if err := c.conns[name].WriteMessage(kind, []byte(text)); err != nil {
		c.Fatal(err)
	}
}

// execute begins a command in c1.
func execute(t *testing.T, s *Service, post api.InstanceExecPost) *operation.Task {
	t.Helper()
	task, err := s.Exec(t.Context(), "default", "c1", post)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// sockets are all that a client opens: with a terminal one for what is typed and shown, without one for each stream.
func sockets(interactive bool) []string {
	if interactive {
		return []string{"0", "control"}
	}
	return []string{"0", "1", "2", "control"}
}

// attached is a client of a command in c1, with all its sockets.
func attached(t *testing.T, s *Service, interactive bool, command ...string) *client {
	t.Helper()
	post := api.InstanceExecPost{Command: command, WaitForWS: true, Interactive: interactive, Width: 90, Height: 33}
	return open(t, execute(t, s, post), sockets(interactive)...)
}

// watched is a client of c1's console.
func watched(t *testing.T, s *Service) *client {
	t.Helper()
	task, err := s.Console(t.Context(), "default", "c1", api.InstanceConsolePost{Width: 80, Height: 25})
	if err != nil {
		t.Fatal(err)
	}
	return open(t, task, sockets(true)...)
}

// script is a client of a shell's script, on a service of its own.
func script(t *testing.T, interactive bool, text string) *client {
	t.Helper()
	s, _ := service(t)
	return attached(t, s, interactive, "/bin/sh", "-c", text)
}

// start is script without a client.
func start(t *testing.T, text string) *operation.Task {
	t.Helper()
	s, _ := service(t)
	return execute(t, s, api.InstanceExecPost{Command: []string{"/bin/sh", "-c", text}, WaitForWS: true})
}

func TestPipes(t *testing.T) {
	c := script(t, false, "cat; echo err >&2; exit 7")
	c.send("0", websocket.BinaryMessage, "one ")
	c.send("0", websocket.BinaryMessage, "two")
	c.send("0", websocket.TextMessage, "")
	if out, errs := c.all("1"), c.all("2"); out != "one two" || errs != "err\n" {
		t.Errorf("%q, %q", out, errs)
	}
	c.end(7)
}

func TestACommandThatIsNotThere(t *testing.T) {
	s, _ := service(t)
	for _, websockets := range []bool{true, false} {
		var c *client
		if websockets {
			c = attached(t, s, false, "/nosuch")
		} else {
			c = open(t, execute(t, s, api.InstanceExecPost{Command: []string{"/nosuch"}}))
		}
		if err := <-c.done; err == nil || err.Error() != "Command not found" || api.StatusOf(err) != 400 {
			t.Errorf("websockets %v: %v", websockets, err)
		}
		if got := c.result["return"]; got != 127 {
			t.Errorf("websockets %v: returned %v", websockets, got)
		}
	}
}

// pylxd closes its sockets once it has seen the result, and fails if they are gone by then.
func TestAClientMayCloseAfterTheEnd(t *testing.T) {
	for _, console := range []bool{false, true} {
		s, l := service(t)
		var c *client
		if console {
			ended := &endlessConsole{closed: make(chan struct{})}
			_ = ended.Close()
			s.Runtime = consoleOf{l, ended}
			c = watched(t, s)
		} else {
			c = attached(t, s, false, "true")
		}
		err := <-c.done
		if err != nil {
			t.Fatal(err)
		}
		for name, conn := range c.conns {
			bye := websocket.FormatCloseMessage(websocket.CloseGoingAway, "")
			if err := conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second)); err != nil {
				t.Errorf("console %v: socket %s: %v", console, name, err)
			}
			for err = nil; err == nil; {
				_, _, err = conn.ReadMessage()
			}
			if !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
				t.Errorf("console %v: socket %s ends with %v", console, name, err)
			}
			if _, err := conn.NetConn().Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("console %v: socket %s is not closed: %v", console, name, err)
			}
		}
	}
}

func TestEndOfInputByClosing(t *testing.T) {
	c := open(t, start(t, "cat"), "0", "1", "2") // and no control: pylxd has none
	c.send("0", websocket.BinaryMessage, "x")
	_ = c.conns["0"].Close()
	if out := c.all("1"); out != "x" {
		t.Errorf("%q", out)
	}
	c.end(0)
}

func TestMuchOutput(t *testing.T) {
	c := script(t, false, "head -c 20000000 /dev/zero")
	if n := len(c.all("1")); n != 20000000 {
		t.Errorf("%d bytes came", n)
	}
	c.end(0)
}

func TestInteractive(t *testing.T) {
	c := script(t, true, "stty -echo; stty size; read x; stty size; echo got $x; (sleep 2 &) ; exit 3")
	var seen string
	for !strings.Contains(seen, "33 90") {
		_, raw, err := c.conns["0"].ReadMessage()
		if err != nil {
			t.Fatal(err, seen)
		}
		seen += string(raw)
	}
	c.send("control", websocket.TextMessage, `{"command":"nonsense"}`)
	c.send("control", websocket.TextMessage, `{"command":"window-resize","args":{"width":"100","height":"40"}}`)
	// The resize is on another socket than what is typed: it has arrived when the terminal says so.
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) && !strings.Contains(seen, "got hello") {
		<-time.After(20 * time.Millisecond)
		c.send("0", websocket.BinaryMessage, "hello\n")
		seen += c.all("0")
	}
	if !strings.HasSuffix(seen, "40 100\r\ngot hello\r\n") {
		t.Errorf("%q", seen)
	}
	c.end(3)
}

func TestSignal(t *testing.T) {
	c := script(t, false, "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.01; done")
	if _, raw, err := c.conns["1"].ReadMessage(); err != nil || string(raw) != "ready\n" {
		t.Fatal(err, string(raw))
	}
	c.send("control", websocket.TextMessage, `{"command":"signal","signal":15}`)
	if out := c.all("1"); out != "caught\n" {
		t.Errorf("%q", out)
	}
	c.end(5)
}

func TestClientThatVanishes(t *testing.T) {
	for _, interactive := range []bool{true, false} {
		c := script(t, interactive, "echo ready; exec sleep 1000")
		out := c.conns[map[bool]string{true: "0", false: "1"}[interactive]]
		if _, _, err := out.ReadMessage(); err != nil {
			t.Fatal(err)
		}
		for _, conn := range c.conns {
			_ = conn.UnderlyingConn().Close()
		}
		if err := <-c.done; err != nil {
			t.Error(err)
		}
		if got := c.result["return"]; got != 128+9 && got != 128+1 {
			t.Errorf("interactive %v: returned %v", interactive, got)
		}
	}
}

func TestNobodyReadsTheOutputAnyMore(t *testing.T) {
	for name, text := range map[string]string{"1": "exec yes", "2": "exec yes >&2"} {
		c := script(t, false, text)
		if _, _, err := c.conns[name].ReadMessage(); err != nil {
			t.Fatal(err)
		}
		_ = c.conns[name].UnderlyingConn().Close()
		c.end(128 + 13)
	}
}

func TestCancel(t *testing.T) {
	c := script(t, false, "sleep 2 & sleep 1000")
	c.cancel()
	if err := <-c.done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c = open(t, start(t, "true")) // nobody connects
	c.cancel()
	if err := <-c.done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestSecrets(t *testing.T) {
	c := open(t, start(t, "true"))
	for _, secret := range []string{"", "nonsense"} {
		_, answer, err := c.tryDial(secret)
		if err == nil || answer.StatusCode != http.StatusForbidden {
			t.Errorf("%q: %v", secret, err)
		}
	}
	secret := c.task.Metadata["fds"].(map[string]string)["0"]
	c.dial(secret)
	if _, _, err := c.tryDial(secret); err == nil {
		t.Error("a secret was good for two connections")
	}
}

func TestConsole(t *testing.T) {
	s, _ := service(t)
	c := watched(t, s)
	if _, raw, err := c.conns["0"].ReadMessage(); err != nil || string(raw) != "login: " {
		t.Errorf("%v, %q", err, raw)
	}
	c.send("0", websocket.BinaryMessage, "x\n")
	c.all("0")
	if err := <-c.done; err != nil {
		t.Error(err)
	}
}

func TestAConsoleIsLeftByClosingItsControl(t *testing.T) {
	s, _ := service(t)
	c := watched(t, s)
	if _, _, err := c.conns["0"].ReadMessage(); err != nil {
		t.Fatal(err)
	}
	// As the stock client does at "ctrl-a q"; the data socket stays open.
	if err := c.conns["control"].WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the console does not end")
	}
}

func TestWithoutSockets(t *testing.T) {
	s, l := service(t)
	run := func(post api.InstanceExecPost) map[string]any {
		t.Helper()
		c := &client{}
		if err := execute(t, s, post).Run(context.Background(), c); err != nil {
			t.Fatal(err)
		}
		return c.result
	}
	if got := run(api.InstanceExecPost{Command: []string{"false"}}); got["return"] != 1 || got["output"] != nil {
		t.Error(got)
	}
	got := run(api.InstanceExecPost{Command: []string{"sh", "-c", "echo out; echo err >&2"}, RecordOutput: true})
	for fd, want := range map[string]string{"1": "out\n", "2": "err\n"} {
		url := got["output"].(map[string]string)[fd]
		name, ok := strings.CutPrefix(url, "/1.0/instances/c1/logs/exec_")
		raw, err := os.ReadFile(filepath.Join(l.instances["default/c1"].Logs, "exec_"+name))
		if !ok || err != nil || string(raw) != want {
			t.Errorf("%s: %v, %q", url, err, raw)
		}
	}
}

func TestEnvironmentAndErrors(t *testing.T) {
	s, l := service(t)
	task := execute(t, s, api.InstanceExecPost{Command: []string{"true"}, Environment: map[string]string{"B": "client"}})
	if err := task.Run(context.Background(), operation.NoProgress{}); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]string{"A": "instance", "B": "client", "HOME": "/root", "USER": "root", "LANG": "C.UTF-8", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin"} {
		if got := l.last.Environment[k]; got != want {
			t.Errorf("%s is %q, want %q", k, got, want)
		}
	}
	if l.last.Cwd != "/root" {
		t.Error(l.last.Cwd)
	}
	for name, want := range map[string]string{"c2": "Instance is frozen", "c3": "Instance is not running", "c4": "Instance not found"} {
		if _, err := s.Exec(context.Background(), "default", name, api.InstanceExecPost{}); err == nil || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Console(context.Background(), "default", "c1", api.InstanceConsolePost{Type: "foo"}); err == nil || err.Error() != `Unknown console type "foo"` {
		t.Error(err)
	}
}
