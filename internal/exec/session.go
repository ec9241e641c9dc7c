package exec

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/runtime"
)

const (
	sigkill = int(unix.SIGKILL)
	sighup  = int(unix.SIGHUP)

	// connectTime is how long a client may take to open its websockets.
	connectTime = 30 * time.Second
	// chunk is how much is copied at a time, and how much a pipe holds.
	chunk = 128 << 10
	pipe  = 1 << 20
	// maxMessage bounds one message of a client; stock ones send 32 KiB at most.
	maxMessage = 4 << 20

	control = "control"
)

type size struct{ width, height int }

// session is the websockets of one command, or one console: "0" with a terminal, "0", "1" and "2" without, and "control".
type session struct {
	interactive bool

	mu    sync.Mutex
	slots map[string]*slot
	ready chan struct{} // closed when all that must be connected are
	ended bool
}

type slot struct {
	secret string
	taken  bool // a connection has shown the secret; another one is refused
	conn   *websocket.Conn
	came   chan struct{} // closed when conn is set
	read   bool          // somebody reads from conn
}

func newSession(interactive bool) (*session, error) {
	s := &session{interactive: interactive, slots: map[string]*slot{}, ready: make(chan struct{})}
	names := []string{"0", control}
	if !interactive {
		names = []string{"0", "1", "2", control}
	}
	for _, name := range names {
		raw := make([]byte, 32)
		if _, err := rand.Read(raw); err != nil {
			return nil, err
		}
		s.slots[name] = &slot{secret: hex.EncodeToString(raw), came: make(chan struct{})}
	}
	return s, nil
}

func (s *session) secrets() map[string]string {
	out := map[string]string{}
	for name, slot := range s.slots {
		out[name] = slot.secret
	}
	return out
}

// Origin is not looked at: whoever knows the secret of a socket has read the operation, which a page of another
// origin cannot.
var upgrader = websocket.Upgrader{HandshakeTimeout: handshakeTime, ReadBufferSize: 32 << 10, WriteBufferSize: 32 << 10, CheckOrigin: func(*http.Request) bool { return true }}

// connect implements operation.Task.Connect.
func (s *session) connect(secret string, w http.ResponseWriter, r *http.Request) error {
	s.mu.Lock()
	var found *slot
	for _, slot := range s.slots {
		if subtle.ConstantTimeCompare([]byte(slot.secret), []byte(secret)) == 1 {
			found = slot
		}
	}
	free := found != nil && !found.taken && !s.ended
	if free {
		found.taken = true
	}
	s.mu.Unlock()
	if !free {
		return request.ErrNotAuthorized
	}
	conn, err := upgrader.Upgrade(w, r, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		found.taken = false
		return nil // it has answered
	}
	conn.SetReadLimit(maxMessage)
	if s.ended { // while it shook hands
		go func() {
			sendClose(conn, time.Now().Add(cutTime))
			drain(conn)
		}()
		return nil
	}
	found.conn = conn
	close(found.came)
	for name, slot := range s.slots {
		if slot.conn == nil && name != control {
			return nil
		}
	}
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
	return nil
}

// connected waits for the client.
func (s *session) connected(ctx context.Context) error {
	late := time.NewTimer(connectTime)
	defer late.Stop()
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return errors.New("Timed out waiting for websockets to connect") // LXD's text
	}
}

// run starts the command once the client has come and returns its exit status when all it has said is sent.
func (s *session) run(ctx context.Context, rt Runtime, id string, r runtime.ExecRequest, window size, began func(context.Context)) (int, error) {
	if err := s.connected(ctx); err != nil {
		return -1, err
	}
	var streams *streams
	var err error
	if s.interactive {
		streams, err = terminalStreams(ctx, rt, id, window)
	} else {
		streams, err = pipeStreams()
	}
	if err != nil {
		return -1, err
	}
	defer streams.close()
	r.Stdin, r.Stdout, r.Stderr, r.Terminal = streams.in, streams.out, streams.err, s.interactive
	over := make(chan struct{})
	c := &pending{}
	attaching := c.begin(ctx)
	// What reads from the client is not waited for: it ends with the connections.
	go s.control(c, streams.resize, over)
	go s.input(c, streams.stdin, over)
	err = c.attached(rt.Exec(attaching, id, r))
	streams.started()
	if err != nil {
		close(over)
		if ended, status := c.endedBy(); ended && ctx.Err() == nil {
			return status, nil
		}
		return -1, err
	}
	began(ctx)
	defer context.AfterFunc(ctx, func() { _ = c.Signal(sigkill) })()
	defer s.cutLate(ctx)()
	var output sync.WaitGroup
	if s.interactive {
		output.Go(func() { send(s.slots["0"].conn, streams.stdout) })
	} else {
		for name, from := range map[string]*os.File{"1": streams.stdout, "2": streams.stderr} {
			output.Go(func() {
				if !send(s.slots[name].conn, from) {
					_ = from.Close() // nobody reads any more: the command gets SIGPIPE
				}
			})
		}
	}
	status, err := wait(ctx, c)
	close(over)
	if s.interactive {
		// Whoever the command has left behind on the terminal may go on; the client does not wait for them.
		streams.drain()
	}
	// Without a terminal the client gets all that is said until the last writer has gone, as from a pipe in a shell.
	stop := context.AfterFunc(ctx, streams.abort)
	output.Wait()
	stop()
	s.close()
	streams.endInput() // ends what still writes to somebody the command has left behind, who never reads
	if ctx.Err() != nil {
		return -1, ctx.Err()
	}
	return status, err
}

// input gives a command what the client sends.
func (s *session) input(c runtime.Command, stdin io.WriteCloser, over <-chan struct{}) {
	conn, ok := s.reader("0")
	if !ok {
		return
	}
	defer drain(conn)
	if lost := receive(conn, stdin); lost && s.interactive {
		// The window is gone, as when a modem hangs up.
		select {
		case <-over:
		default:
			_ = c.Signal(sighup)
		}
	}
	if !s.interactive {
		_ = stdin.Close()
	}
}

// control obeys the control socket until it is closed or the command is over. A client that vanishes ends its command.
func (s *session) control(c runtime.Command, resize func(size) error, over <-chan struct{}) {
	select {
	case <-s.slots[control].came:
	case <-over:
		return
	}
	conn, ok := s.reader(control)
	if !ok {
		return
	}
	defer drain(conn)
	for {
		_, raw, err := conn.ReadMessage()
		if err != nil {
			select {
			case <-over:
			default:
				if !websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived) {
					_ = c.Signal(sigkill)
				}
			}
			return
		}
		var m api.InstanceExecControl
		if json.Unmarshal(raw, &m) != nil {
			continue // LXD skips what it does not understand
		}
		switch m.Command {
		case "window-resize":
			width, err1 := strconv.Atoi(m.Args["width"])
			height, err2 := strconv.Atoi(m.Args["height"])
			if err1 == nil && err2 == nil && resize != nil {
				_ = resize(size{width, height})
			}
		case "signal":
			if m.Signal > 0 && m.Signal < 65 {
				select {
				case <-over:
					return
				default:
					_ = c.Signal(m.Signal)
				}
			}
		}
	}
}

// send copies what a command says to a websocket, and then says that it was all; false if the client takes no more.
func send(conn *websocket.Conn, from io.Reader) bool {
	buf := make([]byte, chunk)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			_ = conn.SetWriteDeadline(time.Now().Add(stallTime))
			if conn.WriteMessage(websocket.BinaryMessage, buf[:n]) != nil {
				return false
			}
		}
		if err != nil {
			break
		}
	}
	_ = conn.SetWriteDeadline(time.Now().Add(lastTime))
	_ = conn.WriteMessage(websocket.TextMessage, nil)
	return true
}

// receive copies what a client sends until its end, which is a message of text, as of stock clients, or the end of
// the socket; lost tells that the socket broke.
func receive(conn *websocket.Conn, to io.Writer) (lost bool) {
	buf := make([]byte, chunk)
	for {
		kind, r, err := conn.NextReader()
		if err != nil {
			return !websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived)
		}
		if kind == websocket.TextMessage {
			return false
		}
		if _, err := io.CopyBuffer(onlyWriter{to}, r, buf); err != nil {
			var closed *websocket.CloseError
			return errors.As(err, &closed)
		}
	}
}

// onlyWriter hides os.File's ReadFrom, which would bring a buffer of its own.
type onlyWriter struct{ io.Writer }

// console connects a client with the console until either ends.
func (s *session) console(ctx context.Context, rt Runtime, id string, window size, began func(context.Context)) error {
	if err := s.connected(ctx); err != nil {
		return err
	}
	c, err := rt.Console(ctx, id)
	if err != nil {
		return err
	}
	began(ctx)
	defer s.cutLate(ctx)()
	resizer, _ := c.(interface{ Resize(width, height int) error })
	resize := func(w size) error {
		if resizer == nil || w.width <= 0 || w.height <= 0 {
			return nil
		}
		return resizer.Resize(w.width, w.height)
	}
	if err := resize(window); err != nil {
		return errors.Join(fmt.Errorf("window of the console: %w", err), c.Close())
	}
	once := sync.OnceValue(c.Close)
	over := make(chan struct{})
	go func() {
		if conn, ok := s.reader("0"); ok {
			defer drain(conn)
			receive(conn, c)
			_ = once()
		}
	}()
	go func() {
		s.control(nobody{func() { _ = once() }}, resize, over)
		_ = once() // LXD's client detaches by closing this one, politely
	}()
	stop := context.AfterFunc(ctx, func() { _ = once() })
	send(s.slots["0"].conn, c)
	stop()
	close(over)
	err = once()
	s.close()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// nobody is the command of a console: there is none to be signalled, but the connection can end.
type nobody struct{ end func() }

func (n nobody) PID() int { return 0 }
func (n nobody) Signal(sig int) error {
	if sig == sigkill {
		n.end()
	}
	return nil
}
func (n nobody) Wait() (int, error) { return 0, nil }
