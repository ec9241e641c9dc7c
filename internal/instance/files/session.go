package files

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/rawconn"
)

const (
	// maxSessions bounds SFTP sessions of all instances together, maxOfOne those of one.
	maxSessions, maxOfOne = 256, 32
	// maxOpen bounds the files and directories that one session has open.
	maxOpen = 1024
	// stallTime is how long a client may read nothing of what it has asked for: as long as one of exec, whose user may have stopped it with
	// Ctrl-Z. Nothing waits for it: the end of the instance or of the daemon ends the session at once.
	stallTime = time.Hour
	// endTime is how long the daemon's end waits for sessions to let go of their instances.
	endTime = time.Second
)

// Session is an SFTP session on an instance's files. It ends with its connection, or when the instance stops, starts or goes.
type Session struct {
	root *root
	all  *sessions
	key  string
	end  chan struct{} // closed when the daemon ends
}

// sessions counts them.
type sessions struct {
	mu     sync.Mutex
	of     map[string]int
	list   map[*Session]bool
	closed bool
	served sync.WaitGroup
}

// SFTP makes a session on the files of an instance, running or stopped. Call Serve, or Close.
func (s *Service) SFTP(ctx context.Context, project, name string) (*Session, error) {
	one := &Session{all: &s.sessions, key: project + "/" + name, end: make(chan struct{})}
	if err := s.sessions.add(one); err != nil {
		return nil, err
	}
	at, err := s.instances.LastingRoot(ctx, project, name)
	if err == nil {
		one.root, err = openRoot(at)
	}
	if err != nil {
		s.sessions.remove(one)
		return nil, err
	}
	return one, nil
}

// Close ends a session that is not served.
func (s *Session) Close() {
	s.root.done()
	s.all.remove(s)
}

// Serve speaks SFTP on a connection until it ends, and closes it.
func (s *Session) Serve(conn net.Conn) {
	defer s.Close()
	t := &tree{root: s.root, opened: map[string]*openFile{}}
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-s.root.gone:
		case <-s.end:
		case <-over:
		}
		_ = rawconn.Close(conn)
	})
	server := sftp.NewRequestServer(patient{conn}, sftp.Handlers{FileGet: t, FilePut: t, FileCmd: t, FileList: t})
	_ = server.Serve() // why a client left is of no use to anybody
	close(over)
	watch.Wait()
	t.closeAll()
}

// patient is a connection whose client may take its time to read, but not for ever.
type patient struct{ net.Conn }

// Write implements io.Writer.
func (c patient) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(stallTime)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close implements io.Closer; the library calls it when a packet makes no sense.
func (c patient) Close() error { return rawconn.Close(c.Conn) }

func (s *sessions) add(one *Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return api.Unavailable("The daemon is shutting down")
	case len(s.list) >= maxSessions:
		return api.Unavailable("Too many SFTP sessions: there are %d", len(s.list))
	case s.of[one.key] >= maxOfOne:
		return api.Unavailable("Too many SFTP sessions of this instance: there are %d", s.of[one.key])
	}
	if s.list == nil {
		s.list, s.of = map[*Session]bool{}, map[string]int{}
	}
	s.list[one] = true
	s.of[one.key]++
	s.served.Add(1)
	return nil
}

func (s *sessions) remove(one *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.list, one)
	if s.of[one.key]--; s.of[one.key] == 0 {
		delete(s.of, one.key)
	}
	s.served.Done()
}

func (s *sessions) close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	for one := range s.list {
		close(one.end)
	}
	s.mu.Unlock()
	left := make(chan struct{})
	go func() {
		s.served.Wait()
		close(left)
	}()
	late := time.NewTimer(endTime)
	defer late.Stop()
	select {
	case <-left:
	case <-late.C: // a guest's file system does not answer; the process ends all the same
	}
}

// errTooMany is for a client that opens without end.
var errTooMany = errors.New("too many open files")

var _ io.ReadWriteCloser = patient{}
