package server

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// stallTime is how long a client may read nothing of an answer, or send nothing of a request that it has begun. A client that
	// makes progress, however slow, is not cut off.
	stallTime = 5 * time.Minute
	// paceChunk is how much must be taken within stallTime.
	paceChunk = 256 << 10
)

// pace puts deadlines on writes to a connection, each of which begins when the one before has come through.
type pace struct {
	limit time.Duration
	taken atomic.Bool // a websocket has taken the connection over and sets its own
}

// extend gives the next write its time.
func (p *pace) extend(c net.Conn) {
	if !p.taken.Load() {
		_ = c.SetWriteDeadline(time.Now().Add(p.limit))
	}
}

func (p *pace) write(c net.Conn, data []byte) (n int, err error) {
	for {
		p.extend(c)
		some, err := c.Write(data[n:min(n+paceChunk, len(data))])
		n += some
		if err != nil || n == len(data) {
			return n, err
		}
	}
}

// pacedConn is a connection with deadlines on its writes.
type pacedConn struct {
	net.Conn
	pace
	closed atomic.Pointer[func()]
}

// whenClosed has f called once the connection is closed from this side.
func (c *pacedConn) whenClosed(f func()) { c.closed.Store(&f) }

// Close implements net.Conn.
func (c *pacedConn) Close() error {
	err := c.Conn.Close()
	if f := c.closed.Swap(nil); f != nil {
		(*f)()
	}
	return err
}

// Write implements net.Conn.
func (c *pacedConn) Write(p []byte) (int, error) { return c.write(c.Conn, p) }

// SetDeadline implements net.Conn. It is what a websocket's library calls first when it takes a connection over, and net/http never.
func (c *pacedConn) SetDeadline(t time.Time) error {
	c.taken.Store(true)
	return c.Conn.SetDeadline(t)
}

// pacedListener gives the connections of a listener deadlines on their writes.
type pacedListener struct{ net.Listener }

// Accept implements net.Listener.
func (l pacedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &pacedConn{Conn: c, pace: pace{limit: stallTime}}, nil
}

// pacedBody is the body of a request, whose sender must go on sending.
type pacedBody struct {
	io.ReadCloser
	control *http.ResponseController
	limit   time.Duration
}

// Read implements io.Reader.
func (b *pacedBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.limit))
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{}) // the server listens on for the end of the connection
	}
	return n, err
}

// pacedWriter is an answer over HTTP/2, where a client may read from the connection and yet take nothing of the answer.
type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	limit   time.Duration
}

// Write implements http.ResponseWriter.
func (w *pacedWriter) Write(p []byte) (int, error) {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.limit))
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController find what is below.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// paced puts deadlines on what a request still has to bring and, over HTTP/2, on its answer.
func paced(w http.ResponseWriter, r *http.Request, limit time.Duration) http.ResponseWriter {
	control := http.NewResponseController(w)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &pacedBody{r.Body, control, limit}
	}
	if r.ProtoMajor < 2 {
		return w // the connection does it
	}
	return &pacedWriter{w, control, limit}
}
