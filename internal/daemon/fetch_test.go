package daemon

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/berthd/berth/api"
)

// TestATenantWhoSharesImagesFetchesFromPublicAddressesAlone: what an instance is made of comes into the default project, but by the rights of
// whoever makes the instance.
func TestATenantWhoSharesImagesFetchesFromPublicAddressesAlone(t *testing.T) {
	w := newTenants(t)
	var reached atomic.Int32
	inside := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		rw.WriteHeader(http.StatusNotFound)
		_, _ = rw.Write([]byte(`{"type":"error","error":"not there","error_code":404}`))
	}))
	t.Cleanup(inside.Close)
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: inside.Certificate().Raw}))
	for _, c := range []struct {
		caller, project string
		reaches         bool
	}{{"shares", "shares", false}, {"a", "a", false}, {"full", "shares", true}} {
		reached.Store(0)
		body, err := json.Marshal(map[string]any{"name": "fetched", "source": map[string]any{
			"type": "image", "mode": "pull", "server": inside.URL, "protocol": "lxd", "alias": "web", "certificate": cert,
		}})
		if err != nil {
			t.Fatal(err)
		}
		text := w.made(c.caller, "/1.0/instances?project="+c.project, string(body))
		if got := reached.Load() > 0; got != c.reaches || !c.reaches && !strings.Contains(text, "may not be fetched from") {
			t.Errorf("%s in %s: reached %v: %s", c.caller, c.project, got, text)
		}
	}
}

// made is what comes of a POST that fails, at once or as an operation.
func (w *tenants) made(caller, path, body string) string {
	w.t.Helper()
	status, text := w.answer(caller, "POST", path, body)
	var op struct{ Metadata api.Operation }
	if err := json.Unmarshal([]byte(text), &op); err != nil || status != http.StatusAccepted {
		return fmt.Sprint(status, text)
	}
	_, text = w.answer(caller, "GET", "/1.0/operations/"+op.Metadata.ID+"/wait", "")
	return text
}
