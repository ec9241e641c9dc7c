package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"

	"github.com/berthd/berth/api"
)

// ExecSession is a command that runs in an instance, connected to this process.
type ExecSession struct {
	op      *Operation
	control *websocket.Conn
	ctlMu   sync.Mutex
	streams sync.WaitGroup
	conns   []*websocket.Conn
}

// ExecStreams are the ends of a command. With Interactive set in the request, Stdin and Stdout are the two directions of its terminal and
// Stderr is not used. A nil Stdin is an empty one.
type ExecStreams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Exec starts a command and connects its streams. The caller calls Wait.
func (c *Client) Exec(instance string, post api.InstanceExecPost, streams ExecStreams) (*ExecSession, error) {
	post.WaitForWS = true
	op, err := c.start(http.MethodPost, pathOf("instances", instance, "exec"), post, "")
	if err != nil {
		return nil, err
	}
	fds, err := secrets(op.State())
	if err != nil {
		return nil, err
	}
	s := &ExecSession{op: op}
	if err := s.connect(fds, post.Interactive, streams); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// secrets are the names of an operation's websockets.
func secrets(state api.Operation) (map[string]string, error) {
	raw, ok := state.Metadata["fds"].(map[string]any)
	if !ok {
		return nil, errors.New("the server offers no streams for this operation")
	}
	out := map[string]string{}
	for k, v := range raw {
		if secret, ok := v.(string); ok {
			out[k] = secret
		}
	}
	return out, nil
}

func (s *ExecSession) open(fds map[string]string, name string) (*websocket.Conn, error) {
	secret, ok := fds[name]
	if !ok {
		return nil, fmt.Errorf("the server offers no stream %q", name)
	}
	conn, err := s.op.Websocket(secret)
	if err != nil {
		return nil, err
	}
	s.conns = append(s.conns, conn)
	return conn, nil
}

func (s *ExecSession) connect(fds map[string]string, interactive bool, streams ExecStreams) error {
	var err error
	if _, ok := fds["control"]; ok {
		if s.control, err = s.open(fds, "control"); err != nil {
			return err
		}
		go drain(s.control)
	}
	if interactive {
		conn, err := s.open(fds, "0")
		if err != nil {
			return err
		}
		s.receive(conn, streams.Stdout)
		go sendStream(conn, streams.Stdin, false)
		return nil
	}
	conns := map[string]*websocket.Conn{}
	for _, name := range []string{"0", "1", "2"} {
		if conns[name], err = s.open(fds, name); err != nil {
			return err
		}
	}
	s.receive(conns["1"], streams.Stdout)
	s.receive(conns["2"], streams.Stderr)
	// The reader of a terminal or pipe may never return: nobody waits for this one.
	go sendStream(conns["0"], streams.Stdin, true)
	return nil
}

// drain reads a socket that nobody sends on, so that pings and the close are answered.
func drain(conn *websocket.Conn) {
	for {
		if _, _, err := conn.NextReader(); err != nil {
			return
		}
	}
}

// receive copies a stream until its end.
func (s *ExecSession) receive(conn *websocket.Conn, w io.Writer) {
	if w == nil {
		w = io.Discard
	}
	s.streams.Add(1)
	go func() {
		defer s.streams.Done()
		receiveStream(conn, w)
	}()
}

// receiveStream copies binary messages; a text message is the end of the stream. When what it writes to fails, it closes the
// socket: the command is told with SIGPIPE, as in a pipe of a shell, and need not talk to nobody for ever.
func receiveStream(conn *websocket.Conn, w io.Writer) {
	for {
		kind, r, err := conn.NextReader()
		if err != nil || kind == websocket.TextMessage {
			return
		}
		if _, err := io.Copy(w, r); err != nil {
			_ = conn.Close()
			return
		}
	}
}

// sendStream copies a reader into binary messages, then an empty text message: the end of the stream. A socket of one
// direction is then closed by the server, which drain waits for. A reader that fails is a terminal that went away: the socket
// is closed, and the server hangs the command up.
func sendStream(conn *websocket.Conn, r io.Reader, oneWay bool) {
	if oneWay {
		go drain(conn)
	}
	buf := make([]byte, 64<<10)
	for r != nil {
		n, err := r.Read(buf)
		if n > 0 {
			if conn.WriteMessage(websocket.BinaryMessage, buf[:n]) != nil {
				return
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			_ = conn.Close()
			return
		}
	}
	_ = conn.WriteMessage(websocket.TextMessage, nil)
}

// Resize tells the command's terminal its size.
func (s *ExecSession) Resize(width, height int) error {
	return s.sendControl(api.InstanceExecControl{Command: "window-resize",
		Args: map[string]string{"width": strconv.Itoa(width), "height": strconv.Itoa(height)}})
}

// Signal sends a signal, by its Linux number, to the command.
func (s *ExecSession) Signal(number int) error {
	return s.sendControl(api.InstanceExecControl{Command: "signal", Signal: number})
}

func (s *ExecSession) sendControl(msg api.InstanceExecControl) error {
	if s.control == nil {
		return errors.New("the server offers no control stream")
	}
	s.ctlMu.Lock()
	defer s.ctlMu.Unlock()
	return s.control.WriteJSON(msg)
}

// Wait waits for the command and for the last of its output, and returns its exit status.
func (s *ExecSession) Wait(ctx context.Context) (int, error) {
	defer s.close()
	err := s.op.Wait(ctx)
	if err == nil {
		s.streams.Wait()
	}
	code, known := s.op.State().Metadata["return"].(float64)
	if known {
		return int(code), err
	}
	return -1, err
}

func (s *ExecSession) close() {
	for _, conn := range s.conns {
		conn.Close()
	}
}

// ConsoleSession is an attachment to an instance's console.
type ConsoleSession struct {
	exec   ExecSession
	closed atomic.Bool
}

// Console attaches to an instance's console. The caller calls Wait, and Detach to leave.
func (c *Client) Console(instance string, post api.InstanceConsolePost, stdin io.Reader, stdout io.Writer) (*ConsoleSession, error) {
	op, err := c.start(http.MethodPost, pathOf("instances", instance, "console"), post, "")
	if err != nil {
		return nil, err
	}
	fds, err := secrets(op.State())
	if err != nil {
		return nil, err
	}
	s := &ConsoleSession{exec: ExecSession{op: op}}
	if err := s.exec.connect(fds, true, ExecStreams{Stdin: stdin, Stdout: stdout}); err != nil {
		s.exec.close()
		return nil, err
	}
	return s, nil
}

// Resize tells the console its size.
func (s *ConsoleSession) Resize(width, height int) error { return s.exec.Resize(width, height) }

// Detach leaves the console; Wait returns then.
func (s *ConsoleSession) Detach() {
	if s.closed.CompareAndSwap(false, true) && s.exec.control != nil {
		s.exec.ctlMu.Lock()
		defer s.exec.ctlMu.Unlock()
		_ = s.exec.control.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
	}
}

// Wait waits until the console ends or Detach was called.
func (s *ConsoleSession) Wait(ctx context.Context) error {
	defer s.exec.close()
	err := s.exec.op.Wait(ctx)
	if s.closed.Load() {
		return nil
	}
	return err
}
