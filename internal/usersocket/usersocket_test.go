package usersocket

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// serve runs a service on a folder without a daemon, and returns its socket, and what ends it. prepare may change the service first.
func serve(t *testing.T, prepare ...func(*Service)) (socket string, end func()) {
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
	t.Cleanup(func() { // after what prepare leaves to be cleaned up
		if end != nil {
			end()
		}
	})
	for _, change := range prepare {
		change(s)
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

// TestOneUserHasSoManyConnections fills the shares of a user.
func TestOneUserHasSoManyConnections(t *testing.T) {
	for as, bound := range map[share]int{served: maxConnections, refused: maxRefused} {
		s := &Service{users: map[uint32]*connected{}}
		for range bound {
			if s.enter(7, as) == nil {
				t.Fatal("a connection within the bound is refused")
			}
		}
		if s.enter(7, as) != nil {
			t.Error("there is no bound")
		}
		if s.enter(8, as) == nil || s.enter(7, 1-as) == nil {
			t.Error("another user, or the other share, is full too")
		}
		s.leave(7, as)
		if s.enter(7, as) == nil {
			t.Error("a connection that has ended counts")
		}
		for range bound {
			s.leave(7, as)
		}
		s.leave(7, 1-as)
		s.leave(8, as)
		if len(s.users) > 0 {
			t.Errorf("%d users are still known", len(s.users))
		}
	}
}

// TestAUserWhoSaysNothingIsNotInTheWay has the service end while a refused user has not asked for anything, or was just told so unasked.
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
	if _, err := io.ReadAll(silent); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the silent user is still connected")
	}
}
