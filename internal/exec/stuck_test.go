package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/runtime"
)

// endsSoon fails a test whose operation does not end within what the end of the daemon waits for it.
func (c *client) endsSoon(want error) {
	c.Helper()
	began := time.Now()
	select {
	case err := <-c.done:
		if !errors.Is(err, want) {
			c.Errorf("it ended with %v, want %v", err, want)
		}
	case <-time.After(10 * time.Second):
		c.Fatal("the operation does not end")
	}
	if took := time.Since(began); took > cutTime+killTime+time.Second {
		c.Errorf("it ended after %s", took)
	}
}

// stalls waits until a process does nothing any more: its output goes nowhere.
func stalls(t *testing.T, pid int) {
	t.Helper()
	last := ""
	for same := 0; same < 5; <-time.After(20 * time.Millisecond) {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
		if err != nil {
			t.Fatal(err)
		}
		if same++; string(raw) != last {
			last, same = string(raw), 0
		}
	}
}

func TestAClientThatNeverReadsIsCutOff(t *testing.T) {
	for _, interactive := range []bool{false, true} {
		s, l := service(t)
		c := attached(t, s, interactive, "yes")
		stalls(t, <-l.started)
		c.cancel()
		c.endsSoon(context.Canceled)
	}
}

func TestAConsoleThatNobodyReadsIsCutOff(t *testing.T) {
	s, l := service(t)
	endless := &endlessConsole{closed: make(chan struct{})}
	s.Runtime = consoleOf{l, endless}
	c := watched(t, s)
	var last int64
	for same := 0; same < 5; <-time.After(20 * time.Millisecond) {
		if same++; endless.read.Load() != last || last == 0 {
			last, same = endless.read.Load(), 0
		}
	}
	c.cancel()
	c.endsSoon(context.Canceled)
}

// What a command leaves behind may keep its standard input and never read it.
func TestInputThatNobodyReadsHoldsNothingUp(t *testing.T) {
	c := script(t, false, "exec 3<&0; sleep 20 <&3 >/dev/null 2>&1 & exec 3<&-; echo ready; read x; exit 3")
	if _, raw, err := c.conns["1"].ReadMessage(); err != nil || string(raw) != "ready\n" {
		t.Fatal(err, string(raw))
	}
	go func() {
		_ = c.conns["0"].WriteMessage(websocket.BinaryMessage, []byte("x\n"))
		for c.conns["0"].WriteMessage(websocket.BinaryMessage, bytes.Repeat([]byte("y"), chunk)) == nil {
		}
	}()
	c.endsSoon(nil)
	if c.result["return"] != 3 {
		t.Errorf("returned %v", c.result["return"])
	}
}

// immortal is a command that the kernel keeps though it was killed.
type immortal struct{ release chan struct{} }

func (immortal) PID() int             { return 0 }
func (immortal) Signal(int) error     { return nil }
func (i immortal) Wait() (int, error) { <-i.release; return 0, nil }

type immortals struct {
	*local
	immortal
}

func (r immortals) Exec(context.Context, string, runtime.ExecRequest) (runtime.Command, error) {
	return r.immortal, nil
}

func TestACommandThatCannotBeKilledIsNotWaitedFor(t *testing.T) {
	for _, websockets := range []bool{false, true} {
		s, l := service(t)
		rt := immortals{l, immortal{make(chan struct{})}}
		s.Runtime = rt
		if websockets {
			c := attached(t, s, false, "x")
			c.cancel()
			c.endsSoon(context.Canceled)
		} else {
			task := execute(t, s, api.InstanceExecPost{Command: []string{"x"}})
			ctx, cancel := context.WithCancel(t.Context())
			c := &client{T: t, done: make(chan error, 1)}
			go func() { c.done <- task.Run(ctx, operation.NoProgress{}) }()
			cancel()
			c.endsSoon(context.Canceled)
		}
		close(rt.release)
	}
}

// farAway is a runtime whose commands never get into the instance.
type farAway struct {
	*local
	begun chan struct{}
}

func (r farAway) Exec(ctx context.Context, _ string, _ runtime.ExecRequest) (runtime.Command, error) {
	r.begun <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// A guest's file system that does not answer kept a command, whose folder was there, from ever beginning; the client's signals, and even
// its end, came to nobody, and the operation could not be ended.
func TestACommandThatNeverBeginsEndsWithItsClient(t *testing.T) {
	for name, end := range map[string]func(c *client){
		"signal": func(c *client) {
			c.send("control", websocket.TextMessage, `{"command":"signal","signal":28}`) // SIGWINCH ends nothing
			c.send("control", websocket.TextMessage, `{"command":"signal","signal":15}`)
		},
		"gone": func(c *client) {
			for _, conn := range c.conns {
				_ = conn.UnderlyingConn().Close()
			}
		},
	} {
		for _, interactive := range []bool{false, true} {
			s, l := service(t)
			rt := farAway{l, make(chan struct{}, 1)}
			s.Runtime = rt
			c := attached(t, s, interactive, "x")
			<-rt.begun
			end(c)
			c.endsSoon(nil)
			want := map[string][]any{"signal": {128 + 15}, "gone": {128 + 9, 128 + 1}}[name]
			if got := c.result["return"]; !slices.Contains(want, got) {
				t.Errorf("%s, interactive %v: returned %v", name, interactive, got)
			}
		}
	}
}

type consoleOf struct {
	*local
	c *endlessConsole
}

func (r consoleOf) Console(context.Context, string) (io.ReadWriteCloser, error) { return r.c, nil }

// endlessConsole is a console that shows something without end until it is closed.
type endlessConsole struct {
	read   atomic.Int64
	closed chan struct{}
	once   sync.Once
}

func (e *endlessConsole) Read(p []byte) (int, error) {
	select {
	case <-e.closed:
		return 0, io.EOF
	default:
		e.read.Add(int64(len(p)))
		return len(p), nil
	}
}

func (e *endlessConsole) Write(p []byte) (int, error) { return len(p), nil }

func (e *endlessConsole) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}
