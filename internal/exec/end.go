package exec

import (
	"context"
	"time"

	"github.com/gorilla/websocket"

	"github.com/berthd/berth/internal/rawconn"
	"github.com/berthd/berth/internal/runtime"
)

const (
	// stallTime is how long a client may read nothing of a command's output. It is long, as somebody who has stopped their client
	// with Ctrl-Z may resume it. The end of the operation does not wait for it.
	stallTime = time.Hour
	// lastTime is how long a client may take to take what is left once the command has ended.
	lastTime = 30 * time.Second
	// cutTime is how long clients may take to hear that the operation ends, before their connections are closed.
	cutTime = time.Second
	// killTime is how long a command that is killed may take to end: the kernel keeps one that is frozen, or waits for a disk.
	killTime = 2 * time.Second
	// handshakeTime is how long a client may take to take the answer to its request for a websocket.
	handshakeTime = 10 * time.Second
)

// close ends the session: each client hears that it does.
func (s *session) close() {
	deadline := time.Now().Add(cutTime) // for all of them
	for _, slot := range s.end() {
		sendClose(slot.conn, deadline)
		if !slot.read {
			go drain(slot.conn)
		}
	}
}

// sendClose sends a client a close message. Until the deadline it may close its connection, as it may not expect it to be gone: pylxd
// asks for the result of the operation and then sends a message of its own. Somebody has to read from it until then.
func sendClose(conn *websocket.Conn, deadline time.Time) {
	if conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), deadline) != nil {
		_ = rawconn.Close(conn.NetConn())
	}
	_ = conn.SetReadDeadline(deadline)
}

// drain reads what a client still sends until it closes the connection or its time is over.
func drain(conn *websocket.Conn) {
	for {
		if _, _, err := conn.NextReader(); err != nil {
			_ = conn.Close()
			return
		}
	}
}

// reader makes the caller the one who reads from a client, and who drains the connection in the end; false once the session has ended.
func (s *session) reader(name string) (*websocket.Conn, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.slots[name]
	if s.ended || slot.conn == nil {
		return nil, false
	}
	slot.read = true
	return slot.conn, true
}

// end takes no more clients and returns, the first time, those that came.
func (s *session) end() []*slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil
	}
	s.ended = true
	var came []*slot
	for _, slot := range s.slots {
		if slot.conn != nil {
			came = append(came, slot)
		}
	}
	return came
}

// cutLate cuts clients off that have not let the session end some time after ctx has.
func (s *session) cutLate(ctx context.Context) (stop func()) {
	left := make(chan struct{})
	unlink := context.AfterFunc(ctx, func() {
		late := time.NewTimer(cutTime)
		defer late.Stop()
		select {
		case <-left:
		case <-late.C:
			for _, slot := range s.end() {
				_ = rawconn.Close(slot.conn.NetConn())
			}
		}
	})
	return func() { unlink(); close(left) }
}

// wait waits for the end of a command, but not for that of one which ctx has killed and the kernel keeps.
func wait(ctx context.Context, c runtime.Command) (int, error) {
	type result struct {
		status int
		err    error
	}
	over := make(chan result, 1)
	go func() {
		status, err := c.Wait()
		over <- result{status, err}
	}()
	select {
	case r := <-over:
		return r.status, r.err
	case <-ctx.Done():
	}
	late := time.NewTimer(killTime)
	defer late.Stop()
	select {
	case r := <-over:
		return r.status, r.err
	case <-late.C:
		return -1, ctx.Err()
	}
}
