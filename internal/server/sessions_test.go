package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/servercert"
)

// revoking is an authority that has taken back all certificates, or none.
type revoking struct{ atomic.Bool }

func (a *revoking) Refuses(*x509.Certificate) error {
	if a.Load() {
		return errors.New("revoked")
	}
	return nil
}

func (*revoking) Vouches(*x509.Certificate) bool { return true }

type nobodyTrusted struct{}

func (nobodyTrusted) Trusted(*x509.Certificate) (api.Certificate, bool) {
	return api.Certificate{}, false
}

// overTLS serves routes, and gives a client for HTTP of a version.
func overTLS(t *testing.T, s *Server, version int) (*http.Client, string) {
	t.Helper()
	cert, err := servercert.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(NewTLSListener(l, cert.TLS)) })
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert.TLS}},
		ForceAttemptHTTP2: version == 2,
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = s.http.Close()
		serving.Wait()
	})
	return &http.Client{Transport: transport}, "https://" + l.Addr().String()
}

// noSessions waits until no request is under way.
func noSessions(t *testing.T, s *Server) {
	t.Helper()
	for end := time.Now().Add(time.Minute); s.Sessions() > 0; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d requests go on", s.Sessions())
		}
	}
}

// TestWhatTakesLongEndsWithTheRightsOfItsCaller: the content of a file that is read on or that nobody reads, an upload that goes on or that stands
// still, and a connection that was taken over. What ends them here is a new list of revoked certificates, of which the server hears by looking.
func TestWhatTakesLongEndsWithTheRightsOfItsCaller(t *testing.T) {
	file := Raw(func(w http.ResponseWriter, _ *http.Request) error {
		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return err
			}
		}
	})
	ranged := Raw(func(w http.ResponseWriter, r *http.Request) error {
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(zeroFile{}, 0, 1<<40))
		return nil
	})
	opened := Raw(func(w http.ResponseWriter, _ *http.Request) error {
		conn, err := upgrade(w, "echo")
		if err != nil {
			return err
		}
		_, err = io.Copy(conn, conn)
		return err
	})
	for version := 1; version <= 2; version++ {
		for what, c := range map[string]struct {
			path string
			body io.Reader
			stop bool // the client reads no more
		}{
			"a file":                    {path: "file"},
			"a part of a file":          {path: "ranged"},
			"a file that nobody reads":  {path: "file", stop: true},
			"an upload":                 {path: "upload", body: zeroFile{}},
			"an upload that stands":     {path: "upload", body: standing()},
			"what is open for anything": {path: "opened"},
		} {
			if version == 2 && c.path == "opened" {
				continue // connections are taken over in HTTP/1.1 alone
			}
			t.Run(fmt.Sprintf("HTTP/%d: %s", version, what), func(t *testing.T) {
				authority := &revoking{}
				begun := make(chan struct{}, 1)
				begins := func(then Response) func(*Request) Response {
					return func(*Request) Response { begun <- struct{}{}; return then }
				}
				s := testServer(t, TLSAuth{Store: nobodyTrusted{}, Authority: authority},
					Route{Method: "GET", Path: "/1.0/file", Handle: begins(file)},
					Route{Method: "GET", Path: "/1.0/ranged", Handle: begins(ranged)},
					Route{Method: "GET", Path: "/1.0/opened", Handle: begins(opened)},
					Route{Method: "PUT", Path: "/1.0/upload", Handle: func(r *Request) Response {
						begun <- struct{}{}
						_, err := io.Copy(io.Discard, r.Body)
						return Fail(err)
					}})
				client, address := overTLS(t, s, version)
				method := "GET"
				if c.body != nil {
					method = "PUT"
				}
				req, err := http.NewRequestWithContext(t.Context(), method, address+"/1.0/"+c.path, c.body)
				if err != nil {
					t.Fatal(err)
				}
				if c.path == "opened" {
					req.Header.Set("Connection", "Upgrade")
					req.Header.Set("Upgrade", "echo")
				}
				ended := make(chan error, 1)
				revoked := make(chan struct{})
				go func() { ended <- readAll(client, req, c.stop, revoked) }()
				<-begun
				authority.Store(true)
				s.checkLater()
				close(revoked)
				noSessions(t, s)
				if err := <-ended; err == nil {
					t.Error("the caller takes what it got for the whole")
				}
			})
		}
	}
}

// readAll reads an answer to its end, or not before the channel is closed; an error is any end but a whole answer that is a success.
func readAll(client *http.Client, req *http.Request, later bool, when <-chan struct{}) error {
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if later {
		<-when
	}
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return fmt.Errorf("after %d bytes: %w", n, errors.Join(err, io.ErrUnexpectedEOF))
	}
	if resp.StatusCode >= 400 {
		return errors.New(resp.Status)
	}
	return nil
}

// zeroFile is as long as anybody reads it.
type zeroFile struct{}

func (zeroFile) Read(p []byte) (int, error)            { return len(p), nil }
func (zeroFile) ReadAt(p []byte, _ int64) (int, error) { return len(p), nil }

// standing gives nothing until it is closed.
func standing() io.Reader {
	r, _ := io.Pipe()
	return r
}

// changing is an authenticator by which rights end while a caller is being found.
type changing struct {
	s     **Server
	calls atomic.Int32
}

func (c *changing) Authenticate(*http.Request) request.Caller {
	caller := request.Caller(root)
	caller.Protocol, caller.Trusted = "tls", c.calls.Add(1) == 1
	if caller.Trusted {
		(*c.s).TrustChanged() // which does not know of this request yet
	} else {
		caller = request.Caller{Protocol: "tls"}
	}
	return caller
}

// TestRightsThatEndAsARequestBeginsAreMissedByNobody.
func TestRightsThatEndAsARequestBeginsAreMissedByNobody(t *testing.T) {
	var s *Server
	s = testServer(t, &changing{s: &s}, Route{Method: "GET", Path: "/1.0/x", Handle: func(*Request) Response {
		t.Error("it is answered")
		return Empty()
	}})
	r := tlsRequest("/1.0/x")
	w := &recorded{header: http.Header{}}
	s.ServeHTTP(w, r)
	if w.status != 403 || !strings.Contains(string(w.body), "rights have ended") {
		t.Errorf("%d %s", w.status, w.body)
	}
	noSessions(t, s)
}

func tlsRequest(path string) *http.Request {
	r, err := http.NewRequest("GET", "https://berth"+path, http.NoBody)
	if err != nil {
		panic(err)
	}
	r.TLS = &tls.ConnectionState{}
	return r
}

// recorded is an answer.
type recorded struct {
	header http.Header
	status int
	body   []byte
}

func (w *recorded) Header() http.Header { return w.header }

func (w *recorded) WriteHeader(status int) { w.status = status }

func (w *recorded) Write(p []byte) (int, error) {
	w.body = append(w.body, p...)
	return len(p), nil
}

// slowAuth takes as long to find a caller as it takes to read the authority's files and to hash a certificate, or longer.
type slowAuth struct{}

func (slowAuth) Authenticate(*http.Request) request.Caller {
	for end := time.Now().Add(20 * time.Microsecond); time.Now().Before(end); {
		runtime.Gosched()
	}
	caller := request.Caller(root)
	caller.Protocol = "tls"
	return caller
}

// BenchmarkRequestsBesideOpenOnes: 10,000 requests are under way, whose callers are looked at all the time.
func BenchmarkRequestsBesideOpenOnes(b *testing.B) {
	held := make(chan struct{})
	s := testServer(b, slowAuth{},
		Route{Method: "GET", Path: "/1.0/x", Handle: func(*Request) Response { return Empty() }},
		Route{Method: "GET", Path: "/1.0/held", Handle: func(*Request) Response { <-held; return Empty() }})
	var all sync.WaitGroup
	for range 10_000 {
		all.Go(func() { s.ServeHTTP(&recorded{header: http.Header{}}, tlsRequest("/1.0/held")) })
	}
	for s.Sessions() < 10_000 {
		runtime.Gosched()
	}
	stop := make(chan struct{})
	all.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				s.TrustChanged()
			}
		}
	})
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			s.ServeHTTP(&recorded{header: http.Header{}}, tlsRequest("/1.0/x"))
		}
	})
	b.StopTimer()
	close(stop)
	close(held)
	all.Wait()
}
