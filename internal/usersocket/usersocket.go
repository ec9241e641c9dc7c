// Package usersocket lets users of this machine who are not administrators work in a project of their own: whoever connects to its socket is
// known by the kernel, gets a restricted project, and is handed on to the daemon's socket over TLS, with a certificate that the daemon trusts with
// that project and nothing else. What is sent is not looked at.
package usersocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/client"
	"github.com/berthd/berth/internal/bounded"
	"github.com/berthd/berth/internal/unixsocket"
)

const (
	// maxConnections are those that one user may have open: a share of the descriptors that all have.
	maxConnections = 256
	// maxRefused are those beyond that which are answered at a time. More are closed.
	maxRefused = 64
	// dialTime bounds a connection to the daemon, and maxWait the wait after a connection that could not be accepted.
	dialTime, maxWait = 30 * time.Second, time.Second
	// refuseTime bounds a connection that is refused, and askTime the part of it in which the client may ask.
	refuseTime, askTime = time.Second, time.Second / 2
)

// share is what a connection counts as.
type share int

const (
	served share = iota
	refused
)

var most = [...]int{served: maxConnections, refused: maxRefused}

// Service hands users on to a daemon.
type Service struct {
	root  string // $BERTH_DIR
	admin *client.Client

	mu    sync.Mutex
	users map[uint32]*connected // those that have connections
	first sync.Mutex            // of them prepares a server that nobody has prepared
	open  sync.WaitGroup

	peer  func(*net.UnixConn) (uint32, error)        // the UID of whoever has connected
	stat  func(folder string, st *unix.Stat_t) error // of homes, which may hang
	homes bounded.Calls                              // by folder
}

// connected is a user who has connections.
type connected struct {
	connections [len(most)]int // by share
	setUp       sync.Mutex
}

// New makes a service for the daemon of a folder, which need not run yet.
func New(root string) (*Service, error) {
	admin, err := client.ConnectUnix(filepath.Join(root, "unix.socket"))
	return &Service{root: root, admin: admin, users: map[uint32]*connected{}, peer: peer, stat: unix.Stat}, err
}

// Serve accepts users until ctx ends, which ends their connections too.
func (s *Service) Serve(ctx context.Context, l *net.UnixListener) error {
	defer s.open.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for wait := time.Duration(0); ; {
		c, err := l.AcceptUnix()
		switch {
		case err == nil:
			wait = 0
			s.open.Go(func() { s.handle(ctx, c) })
		case ctx.Err() != nil:
			return nil
		case unixsocket.Passes(err):
			wait = min(max(2*wait, 5*time.Millisecond), maxWait)
			slog.Warn("A connection cannot be accepted", "err", err)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		default:
			return err
		}
	}
}

// handle serves one connection.
func (s *Service) handle(ctx context.Context, c *net.UnixConn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	uid, err := s.peer(c)
	if err != nil {
		slog.Error("Nobody knows who has connected", "err", err)
		return
	}
	u := s.enter(uid, served)
	if u == nil {
		if s.enter(uid, refused) != nil {
			defer s.leave(uid, refused)
			refuse(c, fmt.Sprintf("user %d has %d connections already", uid, maxConnections))
		}
		return
	}
	defer s.leave(uid, served)
	daemon, err := s.dial(ctx, u, uid)
	if err != nil {
		slog.Error("A user cannot be handed on", "uid", uid, "err", err)
		refuse(c, "your project cannot be reached; berth-user's log says why")
		return
	}
	defer daemon.Close()
	defer context.AfterFunc(ctx, func() { _ = daemon.Close() })()
	join(c, daemon)
}

// enter counts a connection, unless the user has too many of its share.
func (s *Service) enter(uid uint32, as share) *connected {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[uid]
	if u == nil {
		u = &connected{}
		s.users[uid] = u
	}
	if u.connections[as] >= most[as] {
		return nil
	}
	u.connections[as]++
	return u
}

func (s *Service) leave(uid uint32, as share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[uid]
	if u.connections[as]--; u.connections == [len(most)]int{} {
		delete(s.users, uid)
	}
}

// dial connects to the daemon as a user.
func (s *Service) dial(ctx context.Context, u *connected, uid uint32) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	a, err := lookUp(uid)
	if err != nil {
		return nil, err
	}
	u.setUp.Lock() // for dialTime at most
	conf, err := s.credentials(ctx, s.admin.WithContext(ctx), a)
	u.setUp.Unlock()
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, "unix", filepath.Join(s.root, "unix.socket"))
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// peer is the UID of whoever has connected.
func peer(c *net.UnixConn) (uint32, error) {
	cred, err := unixsocket.Peer(c)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// join copies both ways until the daemon has said all, or one side fails. What the user has said may end first.
func join(user *net.UnixConn, daemon *tls.Conn) {
	said := make(chan struct{})
	go func() {
		defer close(said)
		if _, err := io.Copy(daemon, user); err != nil || daemon.CloseWrite() != nil {
			_ = daemon.Close()
		}
	}()
	_, _ = io.Copy(user, daemon) // either end is the end
	_ = user.Close()
	_ = daemon.Close()
	<-said
}

// refuse answers a connection, whatever it asks. The answer comes once the client has begun to ask, as HTTP clients take one that comes before
// for a fault of the connection; who asks nothing gets it too, so that no silent client holds a connection for long.
func refuse(c *net.UnixConn, why string) {
	body := `{"type":"error","status":"","status_code":0,"operation":"","error_code":503,"error":` + strconv.Quote(why) + `,"metadata":null}` + "\n"
	began := time.Now()
	_ = c.SetDeadline(began.Add(askTime))
	var first [1]byte
	if _, err := c.Read(first[:]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	_ = c.SetDeadline(began.Add(refuseTime))
	_, _ = fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
	_ = c.CloseWrite()
	_, _ = io.Copy(io.Discard, io.LimitReader(c, 1<<20)) // else the client fails while it still sends, before it reads the answer
}
