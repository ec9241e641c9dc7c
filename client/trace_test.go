package client

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/api"
)

func TestTraceShowsAllButSecrets(t *testing.T) {
	c := unixServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/1.0/instances/c1/files":
			w.Header().Set("X-LXD-type", "file")
			_, _ = io.WriteString(w, "hunter2")
		case "/1.0/certificates":
			answer(w, 409, api.Response{Type: api.ErrorResponse, ErrorCode: 409, Error: "it is there"})
		default:
			reply(w, map[string]any{"name": "a", "config": map[string]any{"core.trust_password": "hunter2", "user.a": "shown", "user.url": "at https://u:hunter2@h/x"}, "fds": map[string]string{"0": "hunter2"}, "n": 12345678901234567})
		}
	})
	var seen strings.Builder
	c = c.WithTrace(&Trace{
		Request: func(method, url string, body []byte) {
			seen.WriteString("> " + method + " " + url + " " + string(body) + "\n")
		},
		Answer: func(method, url, status string, _ time.Duration, body []byte) {
			seen.WriteString("< " + method + " " + url + " " + status + " " + string(body) + "\n")
		},
	})
	if p, _, err := c.UseProject("x").Profile("a"); err != nil || p.Name != "a" || p.Config["core.trust_password"] != "hunter2" {
		t.Errorf("the answer itself: %+v, %v", p, err)
	}
	if err := c.CreateCertificate(api.CertificatesPost{Password: "hunter2"}); !api.IsConflict(err) {
		t.Error(err)
	}
	content, _, err := c.InstanceFile("c1", "/f")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(content); err != nil || string(data) != "hunter2" {
		t.Errorf("%q %v", data, err)
	}
	if resp, err := c.Raw("GET", "/1.0/images/f/export?secret=hunter2", nil); err == nil {
		resp.Body.Close()
	}
	if _, err := c.websocket(t.Context(), "/1.0/operations/o/websocket?secret=hunter2"); err == nil {
		t.Error("a websocket of a server that has none")
	}
	got := seen.String()
	if strings.Contains(got, "hunter2") {
		t.Errorf("a secret is shown:\n%s", got)
	}
	for _, want := range []string{
		"> GET http://unix.socket/1.0/profiles/a?project=x \n", `"user.a":"shown"`, `"user.url":"at https://u:MASKED@h/x"`, `"core.trust_password":"MASKED"`, `"fds":{"0":"MASKED"}`, `"n":12345678901234567`,
		"> POST http://unix.socket/1.0/certificates {", `409 Conflict {"error":"it is there"`, "export?secret=MASKED", "> WEBSOCKET ws://unix.socket/1.0/operations/o/websocket?secret=MASKED",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestAnAnswerThatIsCutOffIsAnErrorTracedOrNot(t *testing.T) {
	c := unixServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"type":"sync"}`)
	})
	silent := &Trace{Request: func(string, string, []byte) {}, Answer: func(string, string, string, time.Duration, []byte) {}}
	for _, c := range []*Client{c, c.WithTrace(silent)} {
		if _, _, err := c.Server(); err == nil {
			t.Error("taken as whole")
		}
	}
}
