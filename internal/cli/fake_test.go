package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/berthd/berth/api"
)

// fakeServer answers on a unix socket with what a test wants, and notes what it was asked.
type fakeServer struct {
	t       *testing.T
	answers map[string]func(w http.ResponseWriter, r *http.Request, body []byte) // by "METHOD path"

	mu   sync.Mutex
	seen []string // "METHOD path body"
}

// newFake makes a server whose client is what berth runs against in this test. What it has no answer for is not found.
func newFake(t *testing.T) *fakeServer {
	t.Helper()
	f := &fakeServer{t: t, answers: map[string]func(http.ResponseWriter, *http.Request, []byte){}}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: f}}
	server.Start()
	t.Cleanup(server.Close)
	t.Setenv("BERTH_SOCKET", socket)
	t.Setenv("BERTH_CONF", t.TempDir())
	t.Setenv("BERTH_PROJECT", "")
	return f
}

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.seen = append(f.seen, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+string(body)))
	f.mu.Unlock()
	if answer, ok := f.answers[r.Method+" "+r.URL.Path]; ok {
		answer(w, r, body)
		return
	}
	fail(w, http.StatusNotFound, "not found")
}

// asked are the requests that begin with a text.
func (f *fakeServer) asked(prefix string) (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.seen {
		if strings.HasPrefix(s, prefix) {
			out = append(out, s)
		}
	}
	return out
}

// gives answers a request with a value.
func (f *fakeServer) gives(request string, v any) {
	f.answers[request] = func(w http.ResponseWriter, _ *http.Request, _ []byte) { give(w, v) }
}

// fails answers a request with an error.
func (f *fakeServer) fails(request string, status int, text string) {
	f.answers[request] = func(w http.ResponseWriter, _ *http.Request, _ []byte) { fail(w, status, text) }
}

func give(w http.ResponseWriter, v any) {
	raw, _ := json.Marshal(v)
	envelope(w, http.StatusOK, api.Response{Type: api.SyncResponse, StatusCode: 200, Metadata: raw})
}

func fail(w http.ResponseWriter, status int, text string) {
	envelope(w, status, api.Response{Type: api.ErrorResponse, ErrorCode: status, Error: text})
}

func envelope(w http.ResponseWriter, status int, r api.Response) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(r)
}

type outcome struct {
	out, err string
	code     int
}

// berth runs the command line as a process would, with an input that is no terminal.
func berth(input string, args ...string) outcome {
	var out, errs bytes.Buffer
	app := &App{In: strings.NewReader(input), Out: &out, Err: &errs}
	code := app.Run(args)
	return outcome{out.String(), errs.String(), code}
}
