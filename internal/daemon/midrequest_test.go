package daemon

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
)

// meanwhile is the body of a request during which something else happens.
type meanwhile struct {
	io.Reader
	happens func()
}

func (m *meanwhile) Read(p []byte) (int, error) {
	if m.happens != nil {
		m.happens()
		m.happens = nil
	}
	return m.Reader.Read(p)
}

// during is answer for a request that something comes between of; of an operation it is the outcome.
func (w *tenants) during(caller, method, path, body string, happens func()) (int, string) {
	w.t.Helper()
	r := httptest.NewRequest(method, "https://berth"+path, &meanwhile{strings.NewReader(body), happens})
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{w.shown[caller]}}
	recorder := httptest.NewRecorder()
	w.d.server.ServeHTTP(recorder, r)
	text := recorder.Body.String()
	var op struct{ Metadata api.Operation }
	if err := json.Unmarshal([]byte(text), &op); recorder.Code != 202 || err != nil {
		return recorder.Code, text
	}
	o, err := w.d.ops.Get(op.Metadata.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	select {
	case <-o.Done():
	case <-time.After(time.Minute):
		w.t.Fatalf("%s %s does not end", method, path)
	}
	if o.Err() != nil {
		return api.StatusOf(o.Err()), o.Err().Error()
	}
	return 200, ""
}

// tinyImage is an image of a container with hardly anything in it.
func tinyImage(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	metadata := "architecture: x86_64\ncreation_date: 1700000000\n"
	for _, h := range []tar.Header{{Name: "metadata.yaml", Mode: 0o644, Size: int64(len(metadata))}, {Name: "rootfs/", Typeflag: tar.TypeDir, Mode: 0o755}} {
		if err := out.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(out, metadata); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestFeaturesThatChangeDuringARequestLetNobodyIntoTheDefaultProject: the body of a request comes when its project has got other features than
// those by which it was let in.
func TestFeaturesThatChangeDuringARequestLetNobodyIntoTheDefaultProject(t *testing.T) {
	w := newTenants(t)
	image := tinyImage(t)
	w.must("POST", "/1.0/images", image)
	var images []api.Image
	if w.get("full", "/1.0/images?recursion=1", &images); len(images) != 1 {
		t.Fatalf("%d images", len(images))
	}
	look := func() string {
		var all strings.Builder
		for _, path := range []string{"profiles", "images", "images/aliases", "networks", "storage-pools/pool/volumes/custom"} {
			_, text := w.answer("full", "GET", "/1.0/"+path+"?recursion=1", "")
			all.WriteString(text)
		}
		return all.String()
	}
	before := look()
	for n, tt := range []struct{ feature, method, path, body string }{
		{"profiles", "PUT", "profiles/thing", `{"description":"by a tenant"}`},
		{"profiles", "PATCH", "profiles/thing", `{"description":"by a tenant"}`},
		{"profiles", "POST", "profiles/thing", `{"name":"by-a-tenant"}`},
		{"profiles", "POST", "profiles", `{"name":"by-a-tenant"}`},
		{"images", "POST", "images", image + "\x00"}, // another one than there is
		{"images", "POST", "images/aliases", fmt.Sprintf(`{"name":"by-a-tenant","target":%q}`, images[0].Fingerprint)},
		{"storage.volumes", "POST", "storage-pools/pool/volumes/custom", `{"name":"by-a-tenant"}`},
		{"storage.volumes", "POST", "storage-pools/pool/volumes", `{"name":"by-a-tenant","type":"custom","source":{"type":"copy","name":"thing","pool":"pool"}}`},
		{"networks", "POST", "networks", `{"name":"projmeanwhile","config":{"ipv4.address":"none","ipv6.address":"none"}}`},
	} {
		name := fmt.Sprintf("r%d", n)
		w.must("POST", "/1.0/projects", fmt.Sprintf(`{"name":%q,"config":{"features.networks":"true"}}`, name))
		w.trust(name, fmt.Sprintf(`"restricted":true,"projects":[%q]`, name))
		if strings.HasSuffix(tt.path, "/thing") { // there to be found when the request begins
			w.must("POST", "/1.0/profiles?project="+name, `{"name":"thing"}`)
		}
		other := fmt.Sprintf(`{"config":{"features.%s":"false"}}`, tt.feature)
		status, text := w.during(name, tt.method, "/1.0/"+tt.path+"?project="+name, tt.body, func() {
			if strings.HasSuffix(tt.path, "/thing") {
				w.must("DELETE", "/1.0/profiles/thing?project="+name, "")
			}
			w.must("PATCH", "/1.0/projects/"+name, other)
		})
		if status != 403 || !strings.Contains(text, "not authorized") {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, status, text)
		}
		if tt.feature == "networks" && status < 300 {
			w.must("DELETE", "/1.0/networks/projmeanwhile", "")
		}
		if now := look(); now != before {
			t.Fatalf("%s %s changes the default project:\n%s\nwas\n%s", tt.method, tt.path, now, before)
		}
	}
}

// TestWhatWasBegunInAProjectIsNotForTheNextOneOfItsName, which may be another tenant's: neither what comes with a body nor what an operation goes
// on with afterwards.
func TestWhatWasBegunInAProjectIsNotForTheNextOneOfItsName(t *testing.T) {
	w := newTenants(t)
	again := func() {
		w.must("DELETE", "/1.0/projects/t", "")
		w.must("POST", "/1.0/projects", `{"name":"t"}`)
	}
	w.must("POST", "/1.0/projects", `{"name":"t"}`)
	look := func() string {
		var all strings.Builder
		for _, path := range []string{"profiles", "images", "images/aliases", "storage-pools/pool/volumes/custom", "instances"} {
			_, text := w.answer("full", "GET", "/1.0/"+path+"?recursion=1&project=t", "")
			all.WriteString(text)
		}
		return all.String()
	}
	before := look()
	for _, tt := range []struct{ method, path, body string }{
		{"POST", "images", tinyImage(t)},
		{"PUT", "profiles/default", `{"description":"of one before"}`},
		{"POST", "profiles", `{"name":"of-one-before"}`},
		{"POST", "storage-pools/pool/volumes/custom", `{"name":"of-one-before"}`},
		{"POST", "instances", `{"name":"of-one-before","source":{"type":"none"},"devices":{"root":{"type":"disk","path":"/","pool":"pool"}}}`},
	} {
		if status, text := w.during("full", tt.method, "/1.0/"+tt.path+"?project=t", tt.body, again); status != 404 || !strings.Contains(text, "Project not found") {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, status, text)
		}
		if now := look(); now != before {
			t.Errorf("%s %s comes out in the next project:\n%s\nwas\n%s", tt.method, tt.path, now, before)
		}
	}
}

// TestAProjectsEndEndsItsOperations, whichever way it goes; a token of the trust store stays good.
func TestAProjectsEndEndsItsOperations(t *testing.T) {
	w := newTenants(t)
	for _, end := range []func(){
		func() { w.must("POST", "/1.0/projects/t", `{"name":"u"}`) },
		func() { w.must("DELETE", "/1.0/projects/t", "") },
		func() { w.must("POST", "/1.0/projects/t?project=t", `{"name":"v"}`) }, // itself an operation of the project
	} {
		w.must("POST", "/1.0/projects", `{"name":"t"}`)
		begin := func(project string, task *operation.Task) *operation.Operation {
			o, err := w.d.ops.Start(context.Background(), project, task)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = o.Retire() })
			return o
		}
		own, secret := begin("t", &operation.Task{}), begin("t", &operation.Task{Class: operation.ClassToken})
		token := begin("t", &operation.Task{Class: operation.ClassToken, Revoke: func(context.Context) error { t.Error("a token is revoked"); return nil }})
		others, servers := begin("a", &operation.Task{}), begin("", &operation.Task{})
		end()
		for o, want := range map[*operation.Operation]bool{own: true, secret: true, token: false, others: false, servers: false} {
			if o.Status().IsFinal() != want {
				t.Errorf("operation of %q: %s", o.Project(), o.Status())
			}
		}
	}
}

// TestAProjectOfManyCertificatesIsRenamedAndDeleted, though no commit holds them all.
func TestAProjectOfManyCertificatesIsRenamedAndDeleted(t *testing.T) {
	w := newTenants(t)
	w.must("POST", "/1.0/projects", `{"name":"t"}`)
	const many = 130
	for n := range many {
		w.trust(fmt.Sprintf("many%d", n), `"restricted":true,"projects":["t"]`)
	}
	count := func(name string) (n int) {
		for _, c := range w.d.certs.List(context.Background(), nil) {
			if strings.HasPrefix(c.Name, "many") && c.Restricted && fmt.Sprint(c.Projects) == "["+name+"]" {
				n++
			}
		}
		return n
	}
	w.must("POST", "/1.0/projects/t", `{"name":"u"}`)
	if n := count("u"); n != many {
		t.Errorf("after the rename %d certificates name the project", n)
	}
	w.must("DELETE", "/1.0/projects/u", "")
	if n := count(""); n != many {
		t.Errorf("after the deletion %d certificates name no project", n)
	}
}
