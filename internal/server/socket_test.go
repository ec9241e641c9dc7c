package server

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/berthd/berth/internal/servercert"
)

// whoAsks answers a request with how its connection came.
func whoAsks(w http.ResponseWriter, r *http.Request) {
	name, _ := r.Context().Value(peerKey{}).(string)
	if r.TLS != nil {
		name = "tls"
	}
	_, _ = io.WriteString(w, name)
}

// split serves both halves of a socket; the function that is returned ends it and waits.
func split(t *testing.T) (path string, end func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := servercert.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{http: newHTTP(http.HandlerFunc(whoAsks))}
	plain, secure := SplitSocket(l)
	var serving sync.WaitGroup
	for _, half := range []net.Listener{plain, NewTLSListener(secure, cert.TLS)} {
		serving.Go(func() {
			if err := s.Serve(half); err != nil {
				t.Errorf("serve: %v", err)
			}
		})
	}
	end = sync.OnceFunc(func() {
		if err := s.http.Shutdown(t.Context()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		serving.Wait()
	})
	t.Cleanup(func() { _ = s.http.Close() })
	return path, end
}

func dialSocket(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func answerOn(t *testing.T, c net.Conn) string {
	t.Helper()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestSocketTellsTLSFromHTTP asks by both, beside connections that say nothing, and ends those with the socket.
func TestSocketTellsTLSFromHTTP(t *testing.T) {
	path, end := split(t)
	silent := dialSocket(t, path)
	gone := dialSocket(t, path)
	_ = gone.Close()

	want := peerName(t)
	if got := answerOn(t, dialSocket(t, path)); got != want {
		t.Errorf("by HTTP it is %q who asks, not %q", got, want)
	}
	secure := tls.Client(dialSocket(t, path), &tls.Config{InsecureSkipVerify: true}) // lint:allow InsecureSkipVerify: nothing is believed
	if got := answerOn(t, secure); got != "tls" {
		t.Errorf("by TLS it is %q who asks", got)
	}
	end()
	if n, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("who said nothing hears %d, %v after the end", n, err)
	}
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		t.Error("the socket still accepts")
	}
}

// peerName is what the kernel says of this process on a socket.
func peerName(t *testing.T) string {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "p"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := dialSocket(t, l.Addr().String())
	defer c.Close()
	accepted, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	name := peerUser(accepted)
	if name == "" || os.Getuid() == 0 && name != "root" {
		t.Fatalf("this process is %q", name)
	}
	return name
}
