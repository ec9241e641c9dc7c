package server

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/rawconn"
	"github.com/berthd/berth/internal/request"
)

// trustCheck is how often the callers of requests that last are looked at again. Changes of certificates by this server are seen at once; this
// is for those that come by themselves, as a certificate's end in time, or a list of revoked ones that is replaced.
const trustCheck = 10 * time.Second

var errTrustEnded = api.Forbidden("%w: the caller's rights have ended", request.ErrNotAuthorized)

// sessions are the requests over the network that are under way, with the connections that were taken over from them: what such a caller hears
// ends with the rights it was heard by. Nothing is locked while callers are looked at.
type sessions struct {
	open    sync.Map // of *session
	count   atomic.Int64
	changes atomic.Uint64 // of anybody's rights
	armed   atomic.Bool   // callers are looked at after trustCheck
}

func (all *sessions) add(one *session) {
	all.open.Store(one, nil)
	all.count.Add(1)
}

func (all *sessions) drop(one *session) {
	if _, there := all.open.LoadAndDelete(one); there {
		all.count.Add(-1)
	}
}

// session is a request that is under way, or an operation that was asked for.
type session struct {
	request *http.Request
	caller  request.Caller
	cancel  context.CancelCauseFunc
	before  uint64 // how often rights had changed when the caller was found

	ended   atomic.Bool // with the caller's rights; it is set with mu held
	last    atomic.Bool // see Request.changesRights
	mu      sync.Mutex
	control *http.ResponseController // nil: none, or it has been answered
	conn    net.Conn                 // taken over; nil: none
}

// begin keeps a request in sight; the function that is returned lets it go, unless its connection was taken over, which ends by itself. before
// is how often rights had changed when its caller was found.
func (s *Server) begin(r *Request, w http.ResponseWriter, before uint64, cancel context.CancelCauseFunc) func() {
	one := &session{request: r.Request, caller: r.caller, cancel: cancel, before: before, control: http.NewResponseController(w)}
	r.session = one
	s.follow(one)
	s.checkSoon()
	return func() {
		one.mu.Lock()
		one.control = nil // it is of no use any more
		taken := one.conn != nil
		one.mu.Unlock()
		if !taken {
			s.sessions.drop(one)
			cancel(nil)
		}
	}
}

// follow has TrustChanged look at a session. A change since its caller was found may have been before it was there to be looked at.
func (s *Server) follow(one *session) {
	s.sessions.add(one)
	if s.sessions.changes.Load() != one.before && s.outlives(one, s.auth.Authenticate(one.request)) {
		s.end(one, errTrustEnded)
	}
}

// run starts a task as an operation of a project, or of none, for a caller whose rights have not ended. They do not end before it is started:
// once a change of them is answered, nothing begins that they were needed for.
func (s *Server) run(r *Request, project string, t *operation.Task) (*operation.Operation, error) {
	if r.session != nil {
		r.session.mu.Lock()
		defer r.session.mu.Unlock()
		if r.session.ended.Load() {
			return nil, errTrustEnded
		}
	}
	return s.services.Operations.Start(r.Context(), project, t)
}

// watch keeps an operation in sight that whoever has its secret can connect to, also without a certificate: it ends with the rights of the caller
// who asked for it.
func (s *Server) watch(r *Request, o *operation.Operation) {
	one := &session{request: r.Request, caller: r.caller, before: r.session.before, cancel: func(error) { _ = o.Cancel() }} // one that has ended is fine
	s.follow(one)
	go func() {
		<-o.Done()
		s.sessions.drop(one)
	}()
}

// Sessions counts the requests and connections over the network that are under way.
func (s *Server) Sessions() int { return int(s.sessions.count.Load()) }

// took notes that the connection of a request was taken over. Only a connection of our own listeners tells when it ends.
func (s *Server) took(one *session, conn net.Conn) {
	ours, ok := rawconn.Beneath(conn).(*pacedConn)
	if one == nil || !ok {
		return
	}
	one.mu.Lock()
	one.conn = conn
	one.mu.Unlock()
	if one.ended.Load() {
		_ = rawconn.Close(conn)
		return
	}
	ours.whenClosed(func() { s.end(one, nil) })
}

// end forgets a session, and its request. With a cause its connection ends, too, if it was taken over or is about to be; else nothing more is
// read from the caller or written.
func (s *Server) end(one *session, cause error) {
	s.sessions.drop(one)
	if cause != nil && one.last.Load() {
		return
	}
	if cause != nil {
		one.mu.Lock()
		one.ended.Store(true)
		one.mu.Unlock()
	}
	one.cancel(cause)
	if cause == nil {
		return
	}
	one.mu.Lock()
	conn := one.conn
	if conn == nil && one.control != nil { // whoever waits for the caller to read or to send is woken
		_ = one.control.SetReadDeadline(past)
		_ = one.control.SetWriteDeadline(past)
	}
	one.mu.Unlock()
	if conn != nil {
		_ = rawconn.Close(conn) // which comes back here
	}
}

// changesRights is for a request, once it is read, that may take its own caller's rights: one who renews a certificate, or takes it out of the store,
// hears how that went. It goes on to its end, which nobody outside can hold up.
func (r *Request) changesRights() {
	if r.session != nil {
		r.session.last.Store(true)
	}
}

var past = time.Unix(1, 0)

// outlives tells whether a session was begun by more rights than its caller has now.
func (s *Server) outlives(one *session, now request.Caller) bool {
	switch {
	case one.caller.Trusted && !now.Trusted:
		return true
	case now.Rights.Cover(one.caller.Rights):
		return false
	}
	return !now.ByGroups || !one.caller.ByGroups || s.services.Identities.Lost(now.Rights, one.caller.Rights)
}

// TrustChanged ends the requests of callers who may do less than when they began.
func (s *Server) TrustChanged() {
	s.sessions.changes.Add(1)
	found := map[string]request.Caller{} // of many requests few callers
	s.sessions.open.Range(func(key, _ any) bool {
		one := key.(*session)
		now, known := found[one.caller.Identity()]
		if !known {
			now = s.auth.Authenticate(one.request)
			found[one.caller.Identity()] = now
		}
		if s.outlives(one, now) {
			s.end(one, errTrustEnded)
		}
		return true
	})
}

// checkSoon has callers looked at from time to time for as long as there are any.
func (s *Server) checkSoon() {
	if !s.sessions.armed.Load() && s.sessions.armed.CompareAndSwap(false, true) {
		time.AfterFunc(trustCheck, s.checkLater)
	}
}

func (s *Server) checkLater() {
	s.TrustChanged()
	s.sessions.armed.Store(false)
	if s.Sessions() > 0 {
		s.checkSoon()
	}
}
