package exec

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// hijacked answers a request on a connection that is the test's.
type hijacked struct {
	net.Conn
	header http.Header
}

func (h hijacked) Header() http.Header { return h.header }
func (h hijacked) WriteHeader(int)     {}
func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.Conn, bufio.NewReadWriter(bufio.NewReader(h.Conn), bufio.NewWriter(h.Conn)), nil
}

// websockets is the two ends of a connection without buffers, which goes by the bubble's clock.
func websockets(t *testing.T) (server, client *websocket.Conn) {
	t.Helper()
	here, there := net.Pipe()
	dialer := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return there, nil }}
	dialed := make(chan error, 1)
	go func() {
		var err error
		client, _, err = dialer.Dial("ws://berth/", nil)
		dialed <- err
	}()
	r, err := http.ReadRequest(bufio.NewReader(here))
	if err != nil {
		t.Fatal(err)
	}
	if server, err = upgrader.Upgrade(hijacked{here, http.Header{}}, r, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-dialed; err != nil {
		t.Fatal(err)
	}
	return server, client
}

// slowly is a command that says something now and then.
type slowly struct {
	times int
	every time.Duration
}

func (s *slowly) Read(b []byte) (int, error) {
	if s.times == 0 {
		return 0, io.EOF
	}
	s.times--
	<-time.After(s.every)
	return copy(b, "x"), nil
}

// TestAClientHasItsTimeForEachMessage, however long the command goes on.
func TestAClientHasItsTimeForEachMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := websockets(t)
		said := make(chan int, 1)
		go func() {
			n := 0
			for {
				kind, _, err := client.ReadMessage()
				if err != nil || kind == websocket.TextMessage {
					said <- n
					return
				}
				n++
			}
		}()
		if !send(server, &slowly{times: 5, every: stallTime * 2 / 3}) {
			t.Error("a client that reads all is cut off")
		}
		_ = server.Close()
		if n := <-said; n != 5 {
			t.Errorf("%d messages came, want 5", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		server, client := websockets(t)
		began := time.Now()
		if send(server, &slowly{times: 5}) || time.Since(began) != stallTime {
			t.Errorf("a client that never reads was given %s, want %s", time.Since(began), stallTime)
		}
		_, _ = server.Close(), client.Close()
	})
}
