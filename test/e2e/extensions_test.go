package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/test/harness"
)

// A probe is one call that shows an extension at work. Method is one of HTTP's, or RUN for a command in the daemon's
// network namespace. An operation is waited for. The answer must hold every text of want, and none of those that begin with "!".
type probe struct {
	extension, method, path, body string
	want                          []string
}

// asker calls the daemon's socket without any client.
type asker struct {
	t    *testing.T
	d    *harness.Daemon
	http *http.Client
}

func newAsker(t *testing.T, d *harness.Daemon) *asker {
	return &asker{t: t, d: d, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", d.Dir+"/unix.socket")
		},
	}}}
}

// call gives headers and body of the answer as one text; for an operation, of its end.
func (a *asker) call(method, path, body string) (string, error) {
	if method == "RUN" {
		cmd := exec.Command("nsenter", "--net=/run/netns/"+a.d.NS, "sh", "-c", path)
		cmd.Env = append(a.d.Environ(), "DIR="+a.d.Dir, "BERTH="+harness.Program("berth"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	body = strings.ReplaceAll(body, "$DIR", a.d.Dir)
	body, headers, _ := strings.Cut(body, "\n")
	req, err := http.NewRequest(method, "http://berth"+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, line := range strings.Split(headers, "\n") {
		if key, value, ok := strings.Cut(line, ": "); ok {
			req.Header.Set(key, value)
		}
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	var envelope api.Response
	if json.Unmarshal(data, &envelope) == nil && envelope.Type == api.AsyncResponse {
		return a.call("GET", envelope.Operation+"/wait?timeout=60", "")
	}
	if strings.HasSuffix(path, "/wait?timeout=60") {
		return string(envelope.Metadata), nil
	}
	var text strings.Builder
	if err := resp.Header.Write(&text); err != nil {
		return "", err
	}
	text.Write(data)
	return text.String(), nil
}

func (a *asker) try(p probe) {
	a.t.Helper()
	answer, err := a.call(p.method, p.path, p.body)
	if err != nil {
		a.t.Errorf("%s: %s %s: %v %s", p.extension, p.method, p.path, err, answer)
		return
	}
	want := p.want
	if len(want) == 0 {
		want = []string{"!error_code\":4", "!error_code\":5", "!Failure"}
	}
	for _, w := range want {
		without, no := strings.CutPrefix(w, "!")
		if strings.Contains(answer, without) == no {
			a.t.Errorf("%s: %s %s %s: want %s, got %.1500s", p.extension, p.method, p.path, p.body, w, answer)
		}
	}
}

// TestEveryExtensionWorks has a probe for every extension that the daemon announces.
func TestEveryExtensionWorks(t *testing.T) {
	d := harness.New(t).Pool().Image()
	a := newAsker(t, d)
	d.Berth("network", "create", "br0", "ipv4.address=10.11.12.1/24", "ipv4.nat=true", "ipv6.address=none")
	d.Berth("profile", "device", "add", "default", "eth0", "nic", "network=br0", "name=eth0")
	d.Berth("storage", "create", "second", "dir")
	d.Berth("storage", "volume", "create", "default", "vol")
	d.Berth("storage", "volume", "snapshot", "default", "vol", "s0")
	d.Berth("launch", "bb", "c1")
	d.Berth("snapshot", "c1", "s0")
	if err := os.WriteFile(d.Dir+"/probe", []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	probed := map[string]bool{}
	for _, p := range probes {
		a.try(p)
		probed[p.extension] = true
	}
	announced := map[string]bool{}
	for _, e := range api.Extensions {
		announced[e] = true
		if !probed[e] {
			t.Errorf("%s is announced and has no probe", e)
		}
	}
	for e := range probed {
		if !announced[e] {
			t.Errorf("%s has a probe and is not announced", e)
		}
	}
	d.Berth("delete", "-f", "c1", "c2", "c3", "c5")
	d.Berth("image", "delete", "made")
	d.Berth("storage", "volume", "delete", "default", "vol1")
	d.Berth("storage", "volume", "delete", "second", "copied")
}
