package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/berthd/berth/test/harness"
)

// answer is what the API gives, with the parts that tests look at.
type answer struct {
	Status    int             `json:"-"`
	ETag      string          `json:"-"`
	Location  string          `json:"-"`
	Type      string          `json:"type"`
	ErrorCode int             `json:"error_code"`
	Error     string          `json:"error"`
	Metadata  json.RawMessage `json:"metadata"`
}

func call(t *testing.T, d *harness.Daemon, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, "http://berth"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return send(t, d, req)
}

func send(t *testing.T, d *harness.Daemon, req *http.Request) answer {
	t.Helper()
	c := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.Dir+"/unix.socket")
		},
		DisableKeepAlives:     true,
		ExpectContinueTimeout: harness.Slow(harness.Limit),
	}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{Status: resp.StatusCode, ETag: resp.Header.Get("ETag"), Location: resp.Header.Get("Location")}
	if err := json.Unmarshal(data, &a); err != nil {
		t.Fatalf("%s %s: %v: %s", req.Method, req.URL.Path, err, data)
	}
	return a
}

func TestAnOldETagIsRefused(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("init", "bb", "c1")
	for _, path := range []string{"/1.0/instances/c1", "/1.0/containers/c1", "/1.0/profiles/default"} {
		first := call(t, d, "GET", path, "")
		if first.ETag == "" {
			t.Fatalf("%s has no ETag", path)
		}
		patch := `{"config":{"user.a":"` + strings.ReplaceAll(path, "/", "-") + `"}}`
		if a := call(t, d, "PATCH", path, patch, "If-Match", first.ETag); a.Status >= 300 {
			t.Errorf("%s: a right ETag is refused: %d %s", path, a.Status, a.Error)
		}
		if a := call(t, d, "PATCH", path, patch, "If-Match", first.ETag); a.Status != http.StatusPreconditionFailed {
			t.Errorf("%s: an old ETag gives %d %s", path, a.Status, a.Error)
		}
	}
}

func TestPutReplacesAndPatchMerges(t *testing.T) {
	d := harness.New(t)
	d.Berth("profile", "create", "p")
	call(t, d, "PATCH", "/1.0/profiles/p", `{"config":{"user.a":"1"}}`)
	call(t, d, "PATCH", "/1.0/profiles/p", `{"config":{"user.b":"2"}}`)
	if got := string(call(t, d, "GET", "/1.0/profiles/p", "").Metadata); !strings.Contains(got, "user.a") || !strings.Contains(got, "user.b") {
		t.Errorf("after two PATCHes: %s", got)
	}
	call(t, d, "PUT", "/1.0/profiles/p", `{"config":{"user.c":"3"},"description":"","devices":{}}`)
	if got := string(call(t, d, "GET", "/1.0/profiles/p", "").Metadata); strings.Contains(got, "user.a") || !strings.Contains(got, "user.c") {
		t.Errorf("after a PUT: %s", got)
	}
}

func TestBadRequestsAreAnsweredClearly(t *testing.T) {
	d := harness.New(t).Pool().Image()
	for _, c := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"GET", "/1.0/nothing", "", 404, "not found"},
		{"GET", "/2.0", "", 404, "not found"},
		{"GET", "/1.0/instances/none", "", 404, "not found"},
		{"GET", "/1.0/profiles?project=none", "", 404, "not found"},
		{"POST", "/1.0/instances", `{`, 400, ""},
		{"POST", "/1.0/instances", `{"name":7}`, 400, "name"},
		{"POST", "/1.0/instances", `{"name":"-x-","source":{"type":"none"}}`, 400, ""},
		{"POST", "/1.0/instances", `{"name":"../x","source":{"type":"none"}}`, 400, ""},
		{"POST", "/1.0/instances", `{"name":"x","source":{"type":"wish"}}`, 400, "wish"},
		{"POST", "/1.0/instances", `{"name":"x","source":{"type":"image","alias":"none"}}`, 404, ""},
		{"POST", "/1.0/profiles", `{"name":""}`, 400, ""},
		{"POST", "/1.0/profiles", `{"name":"default"}`, 409, ""},
		{"PUT", "/1.0", `{"config":{"core.nothing":"1"}}`, 400, "core.nothing"},
		{"POST", "/1.0/storage-pools", `{"name":"p","driver":"tape"}`, 400, "tape"},
	} {
		a := call(t, d, c.method, c.path, c.body)
		if a.Status != c.status || a.ErrorCode != c.status || a.Type != "error" || !strings.Contains(strings.ToLower(a.Error), c.text) {
			t.Errorf("%s %s %s: %d %q, want %d with %q", c.method, c.path, c.body, a.Status, a.Error, c.status, c.text)
		}
	}
	huge := `{"name":"` + strings.Repeat("x", 64<<20) + `"}`
	if a := call(t, d, "POST", "/1.0/profiles", huge); a.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of 64 MiB gives %d %q", a.Status, a.Error)
	}
}

func TestAnOperationCanBeWatchedAndCancelled(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	a := call(t, d, "POST", "/1.0/instances/c1/exec", `{"command":["sleep","600"],"wait-for-websocket":false}`)
	if a.Status != http.StatusAccepted || a.Type != "async" || !strings.HasPrefix(a.Location, "/1.0/operations/") {
		t.Fatalf("exec: %d %s %s", a.Status, a.Type, a.Location)
	}
	if w := call(t, d, "GET", a.Location+"/wait?timeout=1", ""); !strings.Contains(string(w.Metadata), "Running") {
		t.Errorf("after a second it is: %s", w.Metadata)
	}
	if got := string(call(t, d, "GET", "/1.0/operations", "").Metadata); !strings.Contains(got, a.Location) {
		t.Errorf("the list does not show it: %s", got)
	}
	if c := call(t, d, "DELETE", "/1.0/instances/c1", ""); c.Status != http.StatusBadRequest {
		t.Errorf("a running container: delete gives %d %s", c.Status, c.Error)
	}
	d.Berth("stop", "--force", "c1")
	w := call(t, d, "GET", a.Location+"/wait?timeout=20", "")
	if strings.Contains(string(w.Metadata), "Running") {
		t.Errorf("after the container's end the exec is: %s", w.Metadata)
	}
}

func TestListsFilterAndRecurse(t *testing.T) {
	d := harness.New(t).Pool()
	for i := range 3 {
		d.Berth("init", "--empty", fmt.Sprintf("c%d", i), "-c", fmt.Sprintf("user.n=%d", i))
	}
	count := func(path string) int {
		var list []json.RawMessage
		a := call(t, d, "GET", path, "")
		if err := json.Unmarshal(a.Metadata, &list); err != nil {
			t.Fatalf("%s: %v %s", path, err, a.Error)
		}
		return len(list)
	}
	for path, want := range map[string]int{
		"/1.0/instances":                                                          3,
		"/1.0/containers?recursion=1":                                             3,
		"/1.0/virtual-machines":                                                   0,
		"/1.0/instances?recursion=2":                                              3,
		"/1.0/instances?recursion=1&filter=config.user.n+eq+1":                    1,
		"/1.0/instances?recursion=1&filter=status+eq+stopped":                     3,
		"/1.0/instances?recursion=1&filter=name+eq+c0+or+name+eq+c2":              2,
		"/1.0/instances?recursion=1&filter=not+name+eq+c0+and+config.user.n+eq+2": 1,
		"/1.0/instances?all-projects=true":                                        3,
	} {
		if got := count(path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}
