package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/pkg/sftp"
)

// The wire is as LXD 5.0.2 has it: GET with "Upgrade: sftp", 101, and then packets of SFTP both ways.
func TestSFTPUpgrade(t *testing.T) {
	s, dir := filesServer(t)
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	client, _ := onSocket(t, s)
	ask := func(method, path, upgrade string) *http.Response {
		t.Helper()
		req, _ := http.NewRequest(method, "http://s"+path, nil)
		if upgrade != "" {
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", upgrade)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	for _, c := range []struct {
		method, path, upgrade string
		status                int
	}{
		{"GET", "/1.0/instances/c1/sftp", "", 400},
		{"GET", "/1.0/instances/c1/sftp", "websocket", 400},
		{"GET", "/1.0/instances/c2/sftp", "sftp", 404},
		{"GET", "/1.0/containers/c1/sftp", "sftp", 404},
		{"POST", "/1.0/instances/c1/sftp", "sftp", 501},
	} {
		resp := ask(c.method, c.path, c.upgrade)
		if resp.StatusCode != c.status {
			t.Errorf("%s %s %q: %d", c.method, c.path, c.upgrade, resp.StatusCode)
		}
		_ = resp.Body.Close() // the next request is sent on the same connection
	}
	resp := ask("GET", "/1.0/instances/c1/sftp", "sftp")
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != "sftp" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	stream := resp.Body.(io.ReadWriteCloser)
	c, err := sftp.NewClientPipe(stream, stream)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := c.Open("/f")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(f); err != nil || string(data) != "content" {
		t.Errorf("%q %v", data, err)
	}
}

// A client may send its first packet without waiting for the answer.
func TestSFTPBehindTheRequest(t *testing.T) {
	s, _ := filesServer(t)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Shutdown(t.Context())
		<-served
	})
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /1.0/instances/c1/sftp HTTP/1.1\r\nHost: s\r\nConnection: Upgrade\r\nUpgrade: sftp\r\n\r\n\x00\x00\x00\x05\x01\x00\x00\x00\x03"); err != nil {
		t.Fatal(err)
	}
	from := bufio.NewReader(conn)
	resp, err := http.ReadResponse(from, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", resp, err)
	}
	version := make([]byte, 9)
	if _, err := io.ReadFull(from, version); err != nil || version[4] != 2 || version[8] != 3 {
		t.Errorf("%x %v", version, err)
	}
}
