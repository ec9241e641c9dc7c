package server

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// fileListener gives the connections of a unix socket what those of TCP have from the standard library: the content of
// a file goes from the page cache to the peer without being copied through the daemon.
type fileListener struct {
	net.Listener
	stall time.Duration // see pace
}

// Accept implements net.Listener.
func (l fileListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if u, ok := c.(*net.UnixConn); ok {
		return &fileConn{UnixConn: u, pace: pace{limit: l.stall}}, err
	}
	return c, err
}

// fileConn is what net/http, which looks for io.ReaderFrom, sends files by.
type fileConn struct {
	*net.UnixConn
	pace
}

// Write implements net.Conn.
func (c *fileConn) Write(p []byte) (int, error) { return c.write(c.UnixConn, p) }

// SetDeadline is pacedConn's.
func (c *fileConn) SetDeadline(t time.Time) error {
	c.taken.Store(true)
	return c.UnixConn.SetDeadline(t)
}

const (
	// sendChunk bounds one system call: a peer that reads as fast as it is sent to must not keep a thread for ever.
	sendChunk = 4 << 20
	// sendQueue is how many bytes of a file may wait for the peer. With the kernel's default of 208 KiB both sides
	// wake each other every few pages.
	sendQueue = 1 << 20
)

// ReadFrom implements io.ReaderFrom.
func (c *fileConn) ReadFrom(from io.Reader) (int64, error) {
	if part, ok := from.(*io.LimitedReader); ok {
		if f, ok := part.R.(*os.File); ok {
			n, err := c.sendFile(f, part.N)
			part.N -= n
			if n > 0 || !errors.Is(err, unix.EINVAL) {
				return n, err
			}
			// A file without pages, such as one of a FUSE file system in direct mode: read it.
		}
	}
	return io.Copy(struct{ io.Writer }{c}, from)
}

// sendFile sends what follows in f, n bytes or until its end.
func (c *fileConn) sendFile(f *os.File, n int64) (sent int64, err error) {
	to, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	source, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	if n > sendQueue {
		_ = c.SetWriteBuffer(sendQueue) // without it it is only slower
	}
	var result error
	c.extend(c.UnixConn)
	readErr := source.Read(func(in uintptr) bool {
		writeErr := to.Write(func(out uintptr) bool {
			var more int64
			more, result = sendUntilFull(int(out), int(in), n-sent)
			sent += more
			if more > 0 {
				c.extend(c.UnixConn)
			}
			return !errors.Is(result, unix.EAGAIN) // else called again when there is room
		})
		if writeErr != nil { // the end of the connection, or of the time to take something
			result = writeErr
		}
		return true
	})
	return sent, errors.Join(readErr, result)
}

// sendUntilFull sends until n bytes are sent, the file ends, or an error: unix.EAGAIN when the peer has to read first.
func sendUntilFull(out, in int, n int64) (sent int64, err error) {
	for sent < n {
		some, err := unix.Sendfile(out, in, nil, int(min(n-sent, sendChunk)))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return sent, err
		case some == 0:
			return sent, nil
		default:
			sent += int64(some)
		}
	}
	return sent, nil
}
