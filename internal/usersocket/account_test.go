package usersocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/cliconf"
)

// queue is a listener for connections that were accepted elsewhere.
type queue struct {
	net.Listener
	accepted chan net.Conn
}

func (q queue) Accept() (net.Conn, error) {
	if c, ok := <-q.accepted; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

// begun is a connection of which a byte was looked at.
type begun struct {
	net.Conn
	from *bufio.Reader
}

func (b begun) Read(p []byte) (int, error) { return b.from.Read(p) }

// runDaemon answers on a folder's socket as a daemon does: administrators at once, and over TLS the users who are handed on, who hear "welcome".
// The user of UID 0 has a project, or nothing.
func runDaemon(t *testing.T, root string, known bool) {
	t.Helper()
	conf, err := cliconf.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := conf.ClientCert(true)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "server.crt"), []byte(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(root, "unix.socket"))
	if err != nil {
		t.Fatal(err)
	}
	q := queue{l, make(chan net.Conn)}
	server := &http.Server{Handler: answers(known), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(q) }()
	go func() {
		defer close(q.accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b := begun{c, bufio.NewReader(c)}
			const handshake = 22 // of a TLS record, RFC 8446, 5.1
			if first, err := b.from.Peek(1); err == nil && first[0] == handshake {
				q.accepted <- tls.Server(b, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert})
			} else {
				q.accepted <- b
			}
		}
	}()
	t.Cleanup(func() { _ = server.Close() })
}

func answers(known bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		metadata := ""
		switch {
		case r.TLS != nil:
			metadata = `"welcome"`
		case strings.HasPrefix(r.URL.Path, "/1.0/certificates/") && known:
			metadata = `{"type":"client","restricted":true,"projects":["user-0"]}`
		case r.URL.Path == "/1.0/projects/user-0" && known:
			metadata = `{"name":"user-0","config":{"restricted":"true"}}`
		case r.URL.Path == "/1.0/profiles/default":
			metadata = `{"name":"default","config":{"user.of":"the administrator"}}`
		case r.URL.Path == "/1.0/storage-pools":
			metadata = `[{"name":"default"}]`
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"type":"error","error":"not found","error_code":404}`)
			return
		}
		fmt.Fprintf(w, `{"type":"sync","status":"Success","status_code":200,"metadata":%s}`, metadata)
	}
}

// hangs makes every user root, whose home does not answer before the test ends. Each look at it is said.
func hangs(t *testing.T, known bool) (prepare func(*Service), looked chan string) {
	t.Helper()
	looked = make(chan string, 100)
	release := make(chan struct{})
	return func(s *Service) {
		t.Cleanup(func() { close(release) })
		s.peer = func(*net.UnixConn) (uint32, error) { return 0, nil }
		s.stat = func(folder string, _ *unix.Stat_t) error {
			looked <- folder
			<-release
			return unix.EIO
		}
		runDaemon(t, s.root, known)
	}, looked
}

// TestAUserWhoseHomeHangsIsServed has a project already, for which nobody needs the home.
func TestAUserWhoseHomeHangsIsServed(t *testing.T) {
	prepare, looked := hangs(t, true)
	path, _ := serve(t, prepare)
	for range 3 {
		c := dial(t, path)
		fmt.Fprint(c, "GET /1.0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("the user gets %s", resp.Status)
		}
	}
	if len(looked) > 0 {
		t.Errorf("the home is looked at: %s", <-looked)
	}
}

// TestTheEndDoesNotWaitForAHome ends the service while the project of a user whose home hangs is made.
func TestTheEndDoesNotWaitForAHome(t *testing.T) {
	prepare, looked := hangs(t, false)
	path, end := serve(t, prepare)
	dial(t, path)
	select {
	case <-looked:
	case <-time.After(20 * time.Second):
		t.Fatal("a project is made, and nobody looks at the home")
	}
	ended := make(chan struct{})
	go func() { defer close(ended); end() }()
	select {
	case <-ended:
	case <-time.After(homeTime - time.Second):
		t.Error("the end waits for the home")
	}
}

// TestAHomeThatDoesNotAnswer is waited for so long, and once at a time.
func TestAHomeThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var looks atomic.Int32
		s := &Service{stat: func(_ string, st *unix.Stat_t) error {
			looks.Add(1)
			<-release
			st.Mode, st.Uid = unix.S_IFDIR, 7
			return nil
		}}
		a := &account{uid: 7, home: "/home/a"}
		began := time.Now()
		for range 3 {
			if home, err := s.ownHome(context.Background(), a); home != "" || !api.IsUnavailable(err) || !strings.Contains(err.Error(), "/home/a") {
				t.Errorf("a home that hangs: %q, %v", home, err)
			}
		}
		if took := time.Since(began); took != homeTime || looks.Load() != 1 {
			t.Errorf("%d looks in %s", looks.Load(), took)
		}
		close(release)
		synctest.Wait()
		if home, err := s.ownHome(context.Background(), a); home != a.home || err != nil {
			t.Errorf("once it answers: %q, %v", home, err)
		}
	})
}

func TestHomesThatAreNotTheUsers(t *testing.T) {
	dir := t.TempDir()
	uid := uint32(os.Getuid())
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Service{stat: unix.Stat}
	for _, c := range []struct {
		uid  uint32
		home string
		want bool
	}{{uid, dir, true}, {uid + 1, dir, false}, {uid, file, false}, {uid, filepath.Join(dir, "absent"), false}, {0, "/", false}} {
		if got := s.owns(c.uid, c.home); got != c.want {
			t.Errorf("%s is user %d's home: %t", c.home, c.uid, got)
		}
	}
}
