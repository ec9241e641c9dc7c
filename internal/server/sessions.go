package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/rawconn"
	"github.com/berthd/berth/internal/request"
)

// trustCheck is how often the callers of requests that last are looked at again. Changes of certificates by this server are seen at once; this
// is for those that come by themselves, as a certificate's end in time.
const trustCheck = 10 * time.Second

var errTrustEnded = errors.New("the caller's rights have ended")

// sessions are the requests over the network that are under way, with the connections that were taken over from them: what such a caller hears
// ends with the rights it was heard by.
type sessions struct {
	mu   sync.Mutex
	open map[*session]struct{}
	next *time.Timer
}

type session struct {
	request *http.Request
	caller  request.Caller
	cancel  context.CancelCauseFunc
	conn    net.Conn // taken over; nil: none
	ended   bool     // before its connection was taken over
}

// begin keeps a request in sight; the function that is returned lets it go, unless its connection was taken over, which ends by itself.
func (s *Server) begin(r *Request, cancel context.CancelCauseFunc) func() {
	one := &session{request: r.Request, caller: r.caller, cancel: cancel}
	r.session = one
	all := &s.sessions
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.open == nil {
		all.open = map[*session]struct{}{}
	}
	all.open[one] = struct{}{}
	if all.next == nil {
		all.next = time.AfterFunc(trustCheck, s.checkLater)
	}
	return func() {
		all.mu.Lock()
		defer all.mu.Unlock()
		if one.conn == nil {
			delete(all.open, one)
			cancel(nil)
		}
	}
}

// watch keeps an operation in sight that whoever has its secret can connect to, also without a certificate: it ends with the rights of the caller
// who asked for it.
func (s *Server) watch(r *Request, o *operation.Operation) {
	one := &session{request: r.Request, caller: r.caller, cancel: func(error) { _ = o.Cancel() }} // one that has ended is fine
	s.sessions.mu.Lock()
	s.sessions.open[one] = struct{}{} // beside that of the request
	s.sessions.mu.Unlock()
	go func() {
		<-o.Done()
		s.sessions.mu.Lock()
		defer s.sessions.mu.Unlock()
		delete(s.sessions.open, one)
	}()
}

// Sessions counts the requests and connections over the network that are under way.
func (s *Server) Sessions() int {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	return len(s.sessions.open)
}

// took notes that the connection of a request was taken over. Only a connection of our own listeners tells when it ends.
func (s *Server) took(one *session, conn net.Conn) {
	ours, ok := rawconn.Beneath(conn).(*pacedConn)
	if one == nil || !ok {
		return
	}
	s.sessions.mu.Lock()
	one.conn = conn
	ended := one.ended
	s.sessions.mu.Unlock()
	if ended {
		_ = rawconn.Close(conn)
		return
	}
	ours.whenClosed(func() { s.end(one, nil) })
}

// end forgets a session, and its request. With a cause its connection ends, too, whether it was taken over or is about to be.
func (s *Server) end(one *session, cause error) {
	s.sessions.mu.Lock()
	delete(s.sessions.open, one)
	one.ended = cause != nil
	conn := one.conn
	s.sessions.mu.Unlock()
	if cause != nil && conn != nil {
		_ = rawconn.Close(conn)
	}
	one.cancel(cause)
}

// TrustChanged ends the requests of callers who may do less than when they began.
func (s *Server) TrustChanged() {
	s.sessions.mu.Lock()
	var ended []*session
	for one := range s.sessions.open {
		now := s.auth.Authenticate(one.request)
		if one.caller.Trusted && !now.Trusted || !now.Rights.Cover(one.caller.Rights) {
			ended = append(ended, one)
		}
	}
	s.sessions.mu.Unlock()
	for _, one := range ended {
		s.end(one, errTrustEnded)
	}
}

// checkLater looks at callers from time to time for as long as there are any.
func (s *Server) checkLater() {
	s.TrustChanged()
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	s.sessions.next = nil
	if len(s.sessions.open) > 0 {
		s.sessions.next = time.AfterFunc(trustCheck, s.checkLater)
	}
}
