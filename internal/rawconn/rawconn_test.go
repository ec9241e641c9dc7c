package rawconn

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/berthd/berth/internal/servercert"
)

// over is a connection over another, of another kind than tls.Conn.
type over struct{ net.Conn }

func (o over) NetConn() net.Conn { return o.Conn }

// A pipe holds nothing: whoever writes waits for the peer, which reads here only what it must.
func secured(t *testing.T) (conn net.Conn, raw, peer net.Conn) {
	t.Helper()
	cert, err := servercert.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	raw, peer = net.Pipe()
	t.Cleanup(func() { _, _ = raw.Close(), peer.Close() })
	server := tls.Server(over{raw}, &tls.Config{Certificates: []tls.Certificate{cert.TLS}, SessionTicketsDisabled: true})
	client := tls.Client(peer, &tls.Config{InsecureSkipVerify: true})
	var both sync.WaitGroup
	both.Go(func() { err = client.Handshake() })
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if both.Wait(); err != nil {
		t.Fatal(err)
	}
	return over{server}, raw, peer
}

func TestBeneath(t *testing.T) {
	conn, raw, _ := secured(t)
	if got := Beneath(conn); got != raw {
		t.Errorf("beneath it all is %T, not the pipe", got)
	}
	if got := Beneath(raw); got != raw {
		t.Errorf("beneath a plain connection is %T, not itself", got)
	}
}

func TestAPeerThatDoesNotReadIsNotWaitedFor(t *testing.T) {
	conn, _, peer := secured(t)
	written := make(chan error)
	go func() {
		_, err := conn.Write([]byte("to nobody"))
		written <- err
	}()
	if err := Close(conn); err != nil {
		t.Error(err)
	}
	if err := <-written; err == nil {
		t.Error("what nobody has read counts as written")
	}
	if n, err := peer.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("the peer is told more than the end: %d bytes, %v", n, err)
	}
}
