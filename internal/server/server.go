// Package server translates between HTTP and the services: routes, the envelope, who asks, and nothing else.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/fetch"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/request"
)

// Route is one method of one path. Path follows net/http's pattern syntax: "/1.0/images/{fingerprint}", or
// "/1.0/images/aliases/{name...}" for a last part that may hold slashes. A literal element wins over a variable.
type Route struct {
	Method string
	Path   string
	// Need is what the caller must be allowed to do.
	Need Need
	// Public lets everybody in; the handler then decides what of the answer the caller may have.
	Public bool
	// Live says that a read depends on which instances run.
	Live   bool
	Handle func(*Request) Response
}

// Authenticator tells who is behind a connection.
type Authenticator interface {
	// Authenticate never fails: who is not known is an untrusted caller.
	Authenticate(r *http.Request) request.Caller
}

// Server serves the API.
type Server struct {
	services Services
	auth     Authenticator
	router   router
	http     *http.Server
	metrics  *http.Server // on core.metrics_address
	origins  *http.CrossOriginProtection

	sessions   sessions
	lastServer atomic.Pointer[lastServer]
	counters   counters
}

// New makes a server of all routes that services has something behind.
func New(services Services, auth Authenticator) *Server {
	s := &Server{services: services, auth: auth, origins: http.NewCrossOriginProtection(), counters: newCounters()}
	for _, route := range s.Routes() {
		s.router.add(route)
	}
	s.http, s.metrics = newHTTP(s), newHTTP(http.HandlerFunc(s.metricsOnly))
	return s
}

func newHTTP(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: time.Minute,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    256 << 10,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
		ConnContext:       withPeer,
		// A client that stands still does not answer either.
		HTTP2:       &http.HTTP2Config{SendPingTimeout: time.Minute, PingTimeout: stallTime, WriteByteTimeout: stallTime},
		BaseContext: func(net.Listener) context.Context { return context.Background() },
	}
}

// Serve answers on a listener until it is closed; several may be served at once.
func (s *Server) Serve(l net.Listener) error {
	return serve(s.http, fileListener{l, stallTime})
}

// ServeMetrics is Serve for a listener that answers with metrics alone.
func (s *Server) ServeMetrics(l net.Listener) error { return serve(s.metrics, l) }

func serve(h *http.Server, l net.Listener) error {
	err := h.Serve(l)
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Shutdown stops listening, and waits for requests under way until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	var errs []error
	for _, h := range []*http.Server{s.http, s.metrics} {
		if err := h.Shutdown(ctx); err != nil {
			errs = append(errs, err, h.Close())
		}
	}
	return errors.Join(errs...)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	before := s.sessions.changes.Load()
	caller := s.auth.Authenticate(hr)
	if caller.Protocol == "" {
		caller.Protocol = "unknown" // from outside comes nobody who is the daemon itself
	}
	w = paced(w, hr, stallTime)
	// Whoever may do everything on this host may also have it connect to everything.
	ctx := fetch.WithPolicy(request.WithCaller(hr.Context(), caller), fetch.Policy{Private: caller.Unbound()})
	r := &Request{server: s, caller: caller}
	if hr.TLS == nil {
		r.Request = hr.WithContext(ctx)
	} else { // whoever could open the socket stays who they are
		ctx, cancel := context.WithCancelCause(ctx)
		r.Request = hr.WithContext(ctx)
		defer s.begin(r, w, before, cancel)()
		bound := &boundWriter{ResponseWriter: w, session: r.session}
		r.Body, w = &boundBody{r.Body, r.session}, bound
		defer s.conclude(bound, r)
	}
	ended := s.counters.began(hr.URL.Path)
	status := http.StatusInternalServerError // unless it comes to an answer
	defer func() { ended(status) }()
	defer func() {
		if p := recover(); p != nil {
			s.crashed(w, r, p)
		}
	}()
	resp := s.take(w, r)
	status = statusOf(resp)
	s.answer(w, r, resp)
}

// take answers those whose rights have ended since they were found, and dispatches what others ask for. What fails because they end, as it is
// cancelled by that, fails with 403.
func (s *Server) take(w http.ResponseWriter, r *Request) Response {
	over := func() bool { return r.session != nil && r.session.ended.Load() }
	if over() {
		return Fail(errTrustEnded)
	}
	resp := s.dispatch(w, r)
	if _, failed := resp.(failure); failed && over() {
		return Fail(errTrustEnded)
	}
	return resp
}

// dispatch finds the route of a request, checks that the caller may take it, and handles it.
func (s *Server) dispatch(w http.ResponseWriter, r *Request) Response {
	if !allowOrigin(w, r.Request, s.services.Config) {
		if err := s.checkBrowser(r.Request); err != nil {
			return Fail(err)
		}
	}
	methods, vars := s.router.find(r.URL.EscapedPath())
	if methods == nil {
		return Fail(api.NotFound("not found"))
	}
	if r.Method == http.MethodOptions {
		return noContent{}
	}
	route, ok := methods[r.Method]
	if !ok {
		return Fail(api.NotImplemented("not implemented"))
	}
	r.vars = vars
	r.asks(r.Project()) // before it is found that the caller may
	switch err := s.admit(r, route); {
	case errors.Is(err, errNothingSeen):
		return Sync([]string{})
	case err != nil:
		return Fail(err)
	}
	if slog.Default().Enabled(r.Context(), slog.LevelDebug) {
		slog.Debug("Handling API request", "ip", r.caller.Address, "method", r.Method, "protocol", r.caller.Protocol,
			"url", redact(r.URL), "username", r.caller.Username)
	}
	if err := s.checkProject(r); err != nil {
		return Fail(err)
	}
	if err := r.checkTarget(); err != nil {
		return Fail(err)
	}
	if err := s.waitForStart(r, route.Live); err != nil {
		return Fail(err)
	}
	r.writer = w
	return route.Handle(r)
}

func (s *Server) answer(w http.ResponseWriter, r *Request, resp Response) {
	if resp == nil { // the handler has taken the connection over
		return
	}
	if err := resp.respond(w, r); err != nil {
		slog.Debug("The answer could not be written", "url", r.URL.Path, "err", err)
	}
}

// crashed ends a request whose handler panicked; others go on.
func (s *Server) crashed(w http.ResponseWriter, r *Request, p any) {
	if p == http.ErrAbortHandler { // net/http panics with this very value
		panic(p)
	}
	slog.Error("A request crashed", "method", r.Method, "url", redact(r.URL), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	s.answer(w, r, Fail(errors.New("internal error")))
}

// start runs a task as an operation of the request's project.
func (s *Server) start(r *Request, t *operation.Task) (*operation.Operation, error) {
	o, err := s.run(r, r.Project(), t)
	if err == nil && r.session != nil && o.Opens() {
		s.watch(r, o)
	}
	return o, err
}

// checkBrowser refuses what a browser sends on behalf of a page of another origin: users of a web interface hold
// their certificate in the browser, which shows it to whoever asks. Other clients send none of the headers it
// goes by, and no browser reaches the socket. Websockets check their origin when they are upgraded.
func (s *Server) checkBrowser(r *http.Request) error {
	if r.TLS == nil {
		return nil
	}
	if err := s.origins.Check(r); err != nil {
		return api.Forbidden("%w: %w", request.ErrNotAuthorized, err)
	}
	return nil
}
