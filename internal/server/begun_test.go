package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/request"
)

// lasting is work that goes on until it is cancelled.
func lasting() *operation.Task { return &operation.Task{Class: operation.ClassToken} }

// begun counts the operations that were started, those that have ended too.
func begun(ops *operation.Manager) int { return len(ops.List("")) }

// TestARequestBegunByWhoIsThrownOutStartsNothing: what such a caller still sends, and what had been read of it, comes to nothing. The caller is told
// so wherever the connection still can: HTTP/2 ends the stream instead.
func TestARequestBegunByWhoIsThrownOutStartsNothing(t *testing.T) {
	for version := 1; version <= 2; version++ {
		for what, handle := range map[string]func(r *Request, began func(), end func()) Response{
			"sends the rest of its body": func(r *Request, began, _ func()) Response {
				began()
				var v any
				if err := r.Decode(&v); err != nil {
					return Fail(err)
				}
				return Async(lasting())
			},
			"has sent it": func(_ *Request, began, end func()) Response {
				began()
				end()
				return Async(lasting())
			},
			"asks for what is of no project": func(_ *Request, began, end func()) Response {
				began()
				end()
				return AsyncOfServer(lasting())
			},
			"waits for its turn": func(r *Request, began, _ func()) Response {
				began()
				<-r.Context().Done()
				return Fail(r.Context().Err())
			},
			"waits for an operation": func(r *Request, began, _ func()) Response {
				others := operation.NewManager(nil)
				o, err := others.Start(context.Background(), "", lasting())
				if err != nil {
					return Fail(err)
				}
				defer func() { _ = others.Shutdown(context.Background()) }()
				r.vars = map[string]string{"id": o.ID()}
				began()
				return operationsAPI{others}.wait(r)
			},
		} {
			t.Run(fmt.Sprintf("HTTP/%d: %s", version, what), func(t *testing.T) {
				authority := &revoking{}
				at, ended := make(chan struct{}), make(chan struct{})
				s := testServer(t, TLSAuth{Store: nobodyTrusted{}, Authority: authority}, Route{Method: "POST", Path: "/1.0/begun", Handle: func(r *Request) Response {
					return handle(r, func() { close(at) }, func() { <-ended })
				}})
				client, address := overTLS(t, s, version)
				var body io.Reader
				cut := version == 2
				if strings.HasPrefix(what, "sends") {
					cut = true // the client may find that nobody reads on before it looks for an answer
					body = inTwo(`{"name":`, ended, `"evil"}`)
				}
				go func() {
					<-at
					authority.Store(true)
					s.checkLater()
					close(ended)
				}()
				status, answer := answerOf(t, client, address+"/1.0/begun", body)
				if status != http.StatusForbidden && (!cut || status != 0) || status != 0 && !strings.HasPrefix(answer, request.ErrNotAuthorized.Error()) {
					t.Errorf("%d %s", status, answer)
				}
				noSessions(t, s)
				if n := begun(s.services.Operations); n > 0 {
					t.Errorf("%d operations were started", n)
				}
			})
		}
	}
}

// inTwo gives the second part once the channel is closed.
func inTwo(first string, when <-chan struct{}, second string) io.Reader {
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, first)
		<-when
		_, _ = io.WriteString(w, second)
		_ = w.Close()
	}()
	return r
}

// answerOf makes a request; status 0 is that of one that is cut off.
func answerOf(t *testing.T, client *http.Client, url string, body io.Reader) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	var answer api.Response
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, answer.Error
}

// TestWhatWasReceivedForAnOperationThatCannotStartIsRemoved, as an image that came in whole while its sender was thrown out.
func TestWhatWasReceivedForAnOperationThatCannotStartIsRemoved(t *testing.T) {
	var s *Server
	auth := &taking{}
	removed := 0
	s = testServer(t, auth, Route{Method: "GET", Path: "/1.0/x", Handle: func(*Request) Response {
		auth.taken.Store(true)
		s.TrustChanged()
		task := lasting()
		task.Discard = func(ctx context.Context) error { removed++; return ctx.Err() }
		return Async(task)
	}})
	w := &recorded{header: http.Header{}}
	s.ServeHTTP(w, tlsRequest("/1.0/x"))
	if w.status != http.StatusForbidden || removed != 1 {
		t.Errorf("%d %s, removed %d times", w.status, w.body, removed)
	}
}

// taking is an authenticator of a caller whose rights are taken away.
type taking struct{ taken atomic.Bool }

func (a *taking) Authenticate(*http.Request) request.Caller {
	if a.taken.Load() {
		return request.Caller{Protocol: "tls"}
	}
	caller := request.Caller(root)
	caller.Protocol = "tls"
	return caller
}

// slowStart is told of an operation while that is being started, and takes its time.
type slowStart struct {
	once sync.Once
	do   func()
}

func (f *slowStart) Operation(string, api.Operation) { f.once.Do(f.do) }

// TestNothingStartsOnceItIsSaidThatRightsHaveEnded: whoever takes them away hears that it is done after the last start, not while that goes on.
func TestNothingStartsOnceItIsSaidThatRightsHaveEnded(t *testing.T) {
	auth := &taking{}
	s := testServer(t, auth, Route{Method: "GET", Path: "/1.0/x", Handle: func(*Request) Response { return Async(lasting()) }})
	said := make(chan struct{})
	s.services.Operations = operation.NewManager(&slowStart{do: func() {
		auth.taken.Store(true)
		go func() {
			defer close(said)
			s.TrustChanged()
		}()
		for range 10_000 {
			runtime.Gosched()
		}
		select {
		case <-said:
			t.Error("it is said, and the operation is only starting")
		default:
		}
	}})
	s.ServeHTTP(&recorded{header: http.Header{}}, tlsRequest("/1.0/x"))
	<-said
	ops := s.services.Operations
	n := begun(ops)
	w := &recorded{header: http.Header{}}
	if s.ServeHTTP(w, tlsRequest("/1.0/x")); w.status != http.StatusForbidden || begun(ops) != n || n != 1 {
		t.Errorf("after it: %d %s, %d operations, then %d", w.status, w.body, n, begun(ops))
	}
	if err := ops.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
