package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/store"
)

// run starts a daemon in this process; stop ends it and returns what Run did.
func run(t *testing.T, root string) (d *Daemon, stop func() error) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("the daemon needs root")
	}
	d, err := New(Options{Root: root, Hub: event.NewHub()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	var once bool
	stop = func() error {
		if once {
			return nil
		}
		once = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-d.Ready():
	case <-time.After(30 * time.Second):
		t.Fatal("the daemon does not get ready")
	}
	return d, stop
}

func client(root string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", filepath.Join(root, "unix.socket"))
	}}}
}

func request(t *testing.T, root, method, path, body string) (int, json.RawMessage) {
	t.Helper()
	req, err := http.NewRequest(method, "http://berth"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client(root).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var env api.Response
	if err := json.NewDecoder(resp.Body).Decode(&env); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, env.Metadata
}

func TestLifeOfADaemon(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "unix.socket"), nil, 0o600); err != nil { // left behind
		t.Fatal(err)
	}
	d, stop := run(t, root)

	info, err := os.Stat(filepath.Join(root, "unix.socket"))
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v %v", err, info)
	}
	for path, mode := range map[string]os.FileMode{"": 0o711, "images": 0o700, "database": 0o700, "security/seccomp": 0o700, "storage-pools": 0o711} {
		if info, err := os.Stat(filepath.Join(root, path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q: %v %v, want %v", path, err, info.Mode(), mode)
		}
	}
	if _, err := New(Options{Root: root, Hub: event.NewHub()}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a second daemon on the same folder: %v", err)
	}

	var server api.Server
	status, data := request(t, root, "GET", "/1.0", "")
	if err := json.Unmarshal(data, &server); err != nil || status != 200 || server.Auth != "trusted" || server.Environment.CertificateFingerprint == "" {
		t.Errorf("%d %v %+v", status, err, server)
	}
	if status, _ := request(t, root, "PATCH", "/1.0", `{"config":{"user.x":"1"}}`); status != 200 {
		t.Errorf("patch: %d", status)
	}
	fingerprint := d.cert.Fingerprint
	if err := stop(); err != nil {
		t.Error(err)
	}
	if needed, err := Needed(root); needed != "" || err != nil {
		t.Errorf("needed: %v %v", needed, err)
	}

	d, stop = run(t, root)
	if d.config.Get("user.x") != "1" || d.cert.Fingerprint != fingerprint {
		t.Error("the daemon forgot something")
	}
	if status, _ := request(t, root, "PATCH", "/1.0", `{"config":{"core.https_address":"127.0.0.1:0"}}`); status == 200 {
		t.Error("port 0 is accepted")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	if status, data := request(t, root, "PATCH", "/1.0", `{"config":{"core.https_address":"`+address+`"}}`); status != 200 {
		t.Errorf("%d %s", status, data)
	}
	if !answers(address) {
		t.Error("the network address does not answer")
	}
	if status, _ := request(t, root, "PUT", "/internal/shutdown?force=true", ""); status != 200 {
		t.Errorf("shutdown: %d", status)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if answers(address) {
		t.Error("the network address answers without a daemon")
	}
	if needed, err := Needed(root); needed == "" || err != nil {
		t.Errorf("needed with an address: %v %v", needed, err)
	}
}
