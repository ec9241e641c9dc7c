package client

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/api"
)

// answer writes an envelope.
func answer(w http.ResponseWriter, status int, env api.Response) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(env)
}

func reply(w http.ResponseWriter, v any) {
	raw, _ := json.Marshal(v)
	answer(w, 200, api.Response{Type: api.SyncResponse, StatusCode: 200, Metadata: raw})
}

// unixServer serves a handler on a socket and connects to it.
func unixServer(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	server.Start()
	t.Cleanup(server.Close)
	c, err := ConnectUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCallsAndErrors(t *testing.T) {
	var seen []string
	c := unixServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = append(seen, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("If-Match")+" "+string(body))
		switch r.URL.Path {
		case "/1.0/profiles/a":
			w.Header().Set("ETag", `"7"`)
			reply(w, api.Profile{Name: "a"})
		case "/1.0/profiles/odd":
			_, _ = io.WriteString(w, "<html>")
		case "/1.0/profiles/stale":
			answer(w, 412, api.Response{Type: api.ErrorResponse, ErrorCode: 412, Error: "ETag doesn't match"})
		default:
			answer(w, 404, api.Response{Type: api.ErrorResponse, ErrorCode: 404, Error: "Profile not found"})
		}
	})
	p, etag, err := c.UseProject("p q").Profile("a")
	if err != nil || p.Name != "a" || strings.Trim(etag, `"`) != "7" {
		t.Errorf("%+v %q %v", p, etag, err)
	}
	if _, _, err := c.Profile("x/../y"); !api.IsNotFound(err) || err.Error() != "Profile not found" {
		t.Errorf("%v", err)
	}
	if err := c.UpdateProfile("stale", api.ProfilePut{}, "7"); api.StatusOf(err) != 412 {
		t.Errorf("%v", err)
	}
	if _, _, err := c.Profile("odd"); err == nil {
		t.Error("an answer that is none is taken")
	}
	if len(seen) != 4 || !strings.Contains(seen[0], "project=p+q") && !strings.Contains(seen[0], "project=p%20q") ||
		!strings.HasPrefix(seen[1], "GET /1.0/profiles/x%2F..%2Fy") || !strings.Contains(seen[2], "7") {
		t.Errorf("%q", seen)
	}
}

func TestAServerThatIsAway(t *testing.T) {
	c, err := ConnectUnix(filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Server(); err == nil {
		t.Error("no error without a server")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	hang := unixServer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	if _, _, err := hang.WithContext(ctx).Server(); err == nil {
		t.Error("a call goes on after its context has ended")
	}
}

func TestOperationsAreWaitedFor(t *testing.T) {
	op := api.Operation{ID: "op1", Class: "task", Status: "Running", StatusCode: api.Running}
	end := op
	end.Status, end.StatusCode, end.Err, end.ErrCode = "Failure", api.Failure, "no luck", http.StatusConflict
	c := unixServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/1.0/instances":
			raw, _ := json.Marshal(op)
			answer(w, 202, api.Response{Type: api.AsyncResponse, StatusCode: 100, Operation: "/1.0/operations/op1", Metadata: raw})
		case "/1.0/operations/op1/wait", "/1.0/operations/op1":
			reply(w, end)
		default:
			http.NotFound(w, r)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	o, err := c.CreateInstance(api.InstancesPost{Name: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Wait(ctx); err == nil || err.Error() != "no luck" || !api.IsConflict(err) {
		t.Errorf("%v, status %d", err, api.StatusOf(err))
	}
}

func TestPinnedCertificates(t *testing.T) {
	here := func(w http.ResponseWriter, _ *http.Request) { reply(w, api.Server{}) }
	server := httptest.NewTLSServer(http.HandlerFunc(here))
	defer server.Close()
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	for name, tt := range map[string]struct {
		address string
		opts    Options
		ok      bool
	}{
		"the pinned one":       {server.URL, Options{ServerCert: cert}, true},
		"an unknown authority": {server.URL, Options{}, false},
		"anything goes":        {server.URL, Options{SkipVerify: true}, true},
	} {
		c, err := ConnectHTTPS(tt.address, tt.opts)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, _, err := c.Server(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, address := range []string{"", "http://h", "https://", "unix:///x", "%"} {
		if _, err := ConnectHTTPS(address, Options{}); err == nil {
			t.Errorf("%q is connected to", address)
		}
	}
	if _, err := ConnectHTTPS(server.URL, Options{ServerCert: "no PEM"}); err == nil {
		t.Error("a certificate that is none")
	}
}
