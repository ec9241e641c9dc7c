package server

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/instance/files"
)

// countingListener counts what goes out by way of ReadFrom, which is the kernel's.
type countingListener struct {
	fileListener
	sent *atomic.Int64
}

type countingConn struct {
	*fileConn
	sent *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.fileListener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{c.(*fileConn), l.sent}, nil
}

func (c countingConn) ReadFrom(from io.Reader) (int64, error) {
	n, err := c.fileConn.ReadFrom(from)
	c.sent.Add(n)
	return n, err
}

// onSocket serves s and returns a client of it, and the number of bytes that the kernel sent of files.
func onSocket(t *testing.T, s *Server) (*http.Client, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	sent := new(atomic.Int64)
	served := make(chan error, 1)
	go func() { served <- s.Serve(countingListener{fileListener{l.(*net.UnixListener), stallTime}, sent}) }()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", l.Addr().String())
	}
	// One connection: a request is answered when the one before it has been counted.
	transport := &http.Transport{DialContext: dial, DisableCompression: true, MaxConnsPerHost: 1}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &http.Client{Transport: transport}, sent
}

// A large file goes to the peer without passing through the daemon; a small one in one write with its header.
func TestLargeFilesAreSentByTheKernel(t *testing.T) {
	s, dir := filesServer(t)
	client, sent := onSocket(t, s)
	for _, c := range []struct {
		size  int
		bytes string // of a Range header
		want  func(sent int64) bool
	}{
		{size: 1024, want: func(n int64) bool { return n == 0 }},
		{size: 9<<20 + 5, want: func(n int64) bool { return n >= 8<<20 }},
		{size: 9 << 20, bytes: "bytes=1048577-", want: func(n int64) bool { return n >= 7<<20 }},
	} {
		data := bytes.Repeat([]byte("0123456789abcdef!"), c.size/17+1)[:c.size]
		if err := os.WriteFile(filepath.Join(dir, "f"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequest(http.MethodGet, "http://s/1.0/instances/c1/files?path=/f", nil)
		if c.bytes != "" {
			req.Header.Set("Range", c.bytes)
			data = data[1<<20+1:]
		}
		sent.Store(0)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %d came, %v", c.size, len(got), err)
		}
		if resp, err = client.Head("http://s/1.0/instances/c1/files?path=/f"); err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if n := sent.Load(); !c.want(n) {
			t.Errorf("%d bytes: the kernel sent %d", c.size, n)
		}
	}
}

// What ends before the length that was announced must not look whole.
func TestAFileThatShrinksWhileItIsSent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	shorter := Raw(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Length", "2097152")
		return files.SendN(w, f, 2<<20)
	})
	s := testServer(t, root, Route{Method: http.MethodGet, Path: "/1.0/f", Handle: func(*Request) Response { return shorter }})
	client, _ := onSocket(t, s)
	resp, err := client.Get("http://s/1.0/f")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err == nil || n > 1<<20 {
		t.Errorf("%d bytes came, %v", n, err)
	}
}

// Files of /sys say that they are a page long, and those of /proc that they are empty: what is in them comes, with its true length,
// also to who asks for a part or for what is new.
func TestFilesWhoseSizeIsNotTheirContents(t *testing.T) {
	s := testServer(t, root, filesAPI{files.New(oneFolder("/"), event.Nobody{})}.routes()...)
	client, _ := onSocket(t, s)
	for _, name := range []string{"/sys/devices/system/cpu/online", "/proc/version"} {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(name); err != nil || info.Size() == int64(len(want)) {
			t.Fatalf("%s: its size is true here: %v, %v", name, info, err)
		}
		for _, header := range []string{"", "Range: bytes=0-", "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT"} {
			req, _ := http.NewRequest(http.MethodGet, "http://s/1.0/instances/c1/files?path="+name, nil)
			if field, value, ok := strings.Cut(header, ": "); ok {
				req.Header.Set(field, value)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Errorf("%s, %q: %v", name, header, err)
				continue
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || !bytes.Equal(got, want) || resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(want)) {
				t.Errorf("%s, %q: %s, length %d, %q, %v", name, header, resp.Status, resp.ContentLength, got, err)
			}
		}
	}
}
