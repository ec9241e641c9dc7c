package usersocket

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// full has the user of UID 7 hold all connections of a user. Whoever connects is that user, or, from an address of its own, one without an account.
func full(t *testing.T) (prepare func(*Service)) {
	t.Helper()
	return func(s *Service) {
		for range maxConnections {
			s.enter(7, served)
		}
		t.Cleanup(func() { // as serve looks who is left
			for range maxConnections {
				s.leave(7, served)
			}
		})
		s.peer = func(c *net.UnixConn) (uint32, error) {
			if a, ok := c.RemoteAddr().(*net.UnixAddr); ok && a.Name != "" && a.Name != "@" {
				return math.MaxUint32 - 1, nil
			}
			return 7, nil
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestRefusedConnectionsAreFewToo has a user who has all connections already open a thousand more that say nothing.
func TestRefusedConnectionsAreFewToo(t *testing.T) {
	path, _ := serve(t, full(t))
	const many, few = 1000, 144
	fds, routines := descriptors(t), runtime.NumGoroutine()
	silent := make([]net.Conn, many)
	for i := range silent {
		silent[i] = dial(t, path)
	}
	other, err := net.DialUnix("unix", &net.UnixAddr{Name: t.TempDir() + "/other", Net: "unix"}, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_ = other.SetDeadline(time.Now().Add(20 * time.Second))
	if got := refusal(t, other); !strings.Contains(got, "berth-user's log") { // so all those before it are accepted
		t.Errorf("another user hears %q", got)
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		kept, more := descriptors(t)-fds-many, runtime.NumGoroutine()-routines
		if kept < few && more < few {
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%d connections are kept, by %d goroutines", kept, more)
		}
	}
	answered := 0
	for _, c := range silent {
		got, err := io.ReadAll(c)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a silent connection is kept")
		}
		if strings.HasPrefix(string(got), "HTTP/1.1 503 ") {
			answered++
		}
	}
	if answered == 0 || answered == many {
		t.Errorf("%d of %d are answered", answered, many)
	}
}

// TestWhoIsRefusedHearsWhy asks with a client of HTTP, and as one who is slow to ask.
func TestWhoIsRefusedHearsWhy(t *testing.T) {
	path, _ := serve(t, full(t))
	for range 100 {
		c := dial(t, path)
		if got := refusal(t, c); !strings.Contains(got, "256 connections") {
			t.Fatalf("the user hears %q", got)
		}
		_ = c.Close()
	}
	unasked, err := io.ReadAll(dial(t, path))
	if !strings.HasPrefix(string(unasked), "HTTP/1.1 503 ") || err != nil {
		t.Errorf("who asks nothing hears %q, %v", unasked, err)
	}
}
