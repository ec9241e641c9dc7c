package server

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const (
	testStall = 200 * time.Millisecond
	muchData  = 32 << 20
)

// pacedServer serves a handler on a unix socket, and gives a connection to it and what the handler ended with.
func pacedServer(t *testing.T, handle func(w http.ResponseWriter, r *http.Request) error) (net.Conn, <-chan error) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ended <- handle(paced(w, r, testStall), r)
	})}
	go func() { _ = s.Serve(fileListener{l.(*net.UnixListener), testStall}) }()
	t.Cleanup(func() { _ = s.Close() })
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, ended
}

// answers are ways to send much data.
func answers(t *testing.T) map[string]func(w http.ResponseWriter, _ *http.Request) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, muchData)); err != nil {
		t.Fatal(err)
	}
	return map[string]func(w http.ResponseWriter, _ *http.Request) error{
		"memory": func(w http.ResponseWriter, _ *http.Request) error {
			_, err := w.Write(make([]byte, muchData))
			return err
		},
		"a file": func(w http.ResponseWriter, _ *http.Request) error {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			w.Header().Set("Content-Length", "33554432")
			_, err = io.Copy(w, io.LimitReader(f, muchData))
			return err
		},
	}
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func endsWith(t *testing.T, ended <-chan error, want error) {
	t.Helper()
	select {
	case err := <-ended:
		if !errors.Is(err, want) {
			t.Errorf("ended with %v, want %v", err, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

func TestAClientThatTakesNothingIsLeft(t *testing.T) {
	for name, answer := range answers(t) {
		t.Run(name, func(t *testing.T) {
			c, ended := pacedServer(t, answer)
			send(t, c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			endsWith(t, ended, os.ErrDeadlineExceeded)
		})
	}
}

// It takes several times the limit in all, and gets everything.
func TestASlowClientGetsItAll(t *testing.T) {
	for name, answer := range answers(t) {
		t.Run(name, func(t *testing.T) {
			c, ended := pacedServer(t, answer)
			began := time.Now()
			send(t, c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			got := int64(0)
			for {
				n, err := io.CopyN(io.Discard, c, 1<<20)
				if got += n; err != nil {
					break
				}
				<-time.After(testStall / 8)
			}
			endsWith(t, ended, nil)
			if took := time.Since(began); got < muchData || took < 2*testStall {
				t.Errorf("%d bytes in %s", got, took)
			}
		})
	}
}

func TestARequestThatStopsHalfWayIsLeft(t *testing.T) {
	c, ended := pacedServer(t, func(_ http.ResponseWriter, r *http.Request) error {
		_, err := io.Copy(io.Discard, r.Body)
		return err
	})
	send(t, c, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf of it")
	endsWith(t, ended, os.ErrDeadlineExceeded)
}

// The end of the body begins the wait for the end of the connection, which has no limit.
func TestARequestThatIsWholeMayTakeLong(t *testing.T) {
	c, ended := pacedServer(t, func(_ http.ResponseWriter, r *http.Request) error {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return err
		}
		select {
		case <-r.Context().Done():
			return r.Context().Err()
		case <-time.After(3 * testStall):
			return nil
		}
	})
	send(t, c, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nwhole")
	endsWith(t, ended, nil)
}

func TestAWebsocketSetsItsOwnDeadlines(t *testing.T) {
	c, ended := pacedServer(t, func(w http.ResponseWriter, _ *http.Request) error {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := errors.Join(conn.SetDeadline(time.Time{}), conn.SetWriteDeadline(time.Now().Add(20*testStall))); err != nil {
			return err
		}
		_, err = conn.Write(make([]byte, muchData))
		return err
	})
	send(t, c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	select {
	case err := <-ended:
		t.Errorf("the deadline of answers holds for a websocket: %v", err)
	case <-time.After(3 * testStall):
	}
	if n, _ := io.Copy(io.Discard, c); n != muchData {
		t.Errorf("%d bytes came", n)
	}
	endsWith(t, ended, nil)
}

// Over HTTP/2 one answer may stand still though the connection does not.
func TestAStreamThatStandsStillIsLeft(t *testing.T) {
	ended := make(chan error, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w = paced(w, r, testStall)
		_, err := io.Copy(struct{ io.Writer }{w}, io.LimitReader(zeros{}, muchData))
		ended <- err
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Fatal(resp.Proto)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("all of it was taken by nobody")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte{0}, len(p))), nil }
