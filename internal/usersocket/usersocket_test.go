package usersocket

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berthd/berth/api"
)

// serve runs a service on a folder without a daemon, and returns its socket, and what ends it.
func serve(t *testing.T) (socket string, end func()) {
	t.Helper()
	dir := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "unix.socket.user"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if len(s.users) > 0 {
			t.Errorf("%d users are still known", len(s.users))
		}
	})
	t.Cleanup(end)
	return l.Addr().String(), end
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func refusal(t *testing.T, c net.Conn) string {
	t.Helper()
	fmt.Fprintf(c, "POST /1.0/instances HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n%s", strings.Repeat("x", 70000))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer api.Response
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusServiceUnavailable || answer.Type != api.ErrorResponse || answer.ErrorCode != resp.StatusCode {
		t.Errorf("answer %d: %+v", resp.StatusCode, answer)
	}
	return answer.Error
}

func TestWithoutADaemonUsersAreToldSo(t *testing.T) {
	path, _ := serve(t)
	if got := refusal(t, dial(t, path)); !strings.Contains(got, "berth-user's log") {
		t.Errorf("a user hears %q", got)
	}
}

// TestOneUserHasSoManyConnections fills the share of a user with connections that wait for an answer.
func TestOneUserHasSoManyConnections(t *testing.T) {
	s := &Service{users: map[uint32]*connected{}}
	for range maxConnections {
		if s.enter(7) == nil {
			t.Fatal("a connection within the bound is refused")
		}
	}
	if s.enter(7) != nil {
		t.Error("there is no bound")
	}
	if s.enter(8) == nil {
		t.Error("another user is kept out")
	}
	s.leave(7)
	if s.enter(7) == nil {
		t.Error("a connection that has ended counts")
	}
}

// TestAUserWhoSaysNothingIsNotInTheWay has the service end while a refused user has not asked for anything.
func TestAUserWhoSaysNothingIsNotInTheWay(t *testing.T) {
	path, end := serve(t)
	silent := dial(t, path)
	if got := refusal(t, dial(t, path)); got == "" {
		t.Error("no answer beside a silent user")
	}
	began := time.Now()
	end()
	if took := time.Since(began); took > dialTime/2 {
		t.Errorf("the end takes %s", took)
	}
	if n, err := silent.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("the silent user hears %d, %v", n, err)
	}
}

func TestHomesThatAreNotTheUsers(t *testing.T) {
	dir := t.TempDir()
	uid := uint32(os.Getuid())
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		uid  uint32
		home string
		want bool
	}{{uid, dir, true}, {uid + 1, dir, false}, {uid, file, false}, {uid, filepath.Join(dir, "absent"), false}, {0, "/", false}} {
		if got := owns(c.uid, c.home); got != c.want {
			t.Errorf("%s is user %d's home: %t", c.home, c.uid, got)
		}
	}
}
