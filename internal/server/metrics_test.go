package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/instance"
	"github.com/berthd/berth/internal/metrics"
	"github.com/berthd/berth/internal/serverconfig"
	"github.com/berthd/berth/internal/store"
)

type oneInstance struct{}

func (oneInstance) Measure(context.Context) []instance.Metrics {
	return []instance.Metrics{{Project: "default", Name: "c1", Type: api.InstanceTypeContainer}, {Project: "blue", Name: "c2"}}
}

func (oneInstance) Counts() []instance.Count { return nil }

// metricsServer has metrics of one instance of each of two projects, and a configuration.
func metricsServer(t *testing.T, auth Authenticator) (*Server, *serverconfig.Service) {
	t.Helper()
	st := store.New(store.NewMemory())
	config := serverconfig.New(st, event.Nobody{})
	if err := st.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := New(Services{Config: config}, auth)
	s.services.Metrics = metrics.New(metrics.Deps{Instances: oneInstance{}, Requests: s.Requests})
	for _, r := range (metricsAPI{svc: s.services.Metrics, config: config}).routes() {
		s.router.add(r)
	}
	return s, config
}

func scrape(h http.Handler, url, accept string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", url, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestMetricsInTheFormatThatIsAskedFor(t *testing.T) {
	s, _ := metricsServer(t, root)
	for accept, want := range map[string]string{
		"": "text/plain; version=0.0.4", "*/*": "text/plain; version=0.0.4",
		"application/openmetrics-text;version=1.0.0,text/plain;q=0.5": "application/openmetrics-text; version=1.0.0",
	} {
		w := scrape(s, "/1.0/metrics", accept)
		body := w.Body.String()
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), want) || !strings.HasSuffix(body, "\n# EOF\n") || !strings.Contains(body, `name="c1"`) {
			t.Errorf("%q: %d %s\n%s", accept, w.Code, w.Header().Get("Content-Type"), body)
		}
	}
	one := scrape(s, "/1.0/metrics?project=blue", "").Body.String()
	if !strings.Contains(one, `name="c2"`) || strings.Contains(one, `name="c1"`) || strings.Contains(one, "lxd_api_requests") {
		t.Error(one)
	}
}

func TestMetricsAreForThoseWhoAreTrusted(t *testing.T) {
	s, config := metricsServer(t, fixedAuth{Protocol: "tls"})
	if w := scrape(s, "/1.0/metrics", ""); w.Code != 403 || strings.Contains(w.Body.String(), "c1") {
		t.Error(w.Code, w.Body)
	}
	err := config.Merge(t.Context(), map[string]any{"core.metrics_authentication": "false"}, func(store.Revision) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if w := scrape(s, "/1.0/metrics", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "c1") {
		t.Error(w.Code, w.Body)
	}
}

// Who is restricted to projects sees the figures of their instances, and nothing of others or of the daemon; asked for by name or not.
func TestMetricsOfAProject(t *testing.T) {
	s, _ := metricsServer(t, fixedAuth{Protocol: "tls", Username: "f", Trusted: true, Rights: access.Restricted("f", []string{"blue"})})
	for url, want := range map[string]int{"/1.0/metrics": 200, "/1.0/metrics?project=blue": 200, "/1.0/metrics?project=default": 403, "/1.0/metrics?project=absent": 403} {
		w := scrape(s, url, "")
		body := w.Body.String()
		if w.Code != want || want == 200 && !strings.Contains(body, `name="c2"`) || strings.Contains(body, `name="c1"`) || strings.Contains(body, "lxd_api") || strings.Contains(body, "lxd_go") {
			t.Errorf("%s: %d %s", url, w.Code, body)
		}
	}
	for name, c := range map[string]api.Certificate{
		"restricted to blue":  {CertificatePut: api.CertificatePut{Type: "metrics", Restricted: true, Projects: []string{"blue"}}},
		"restricted to green": {CertificatePut: api.CertificatePut{Type: "metrics", Restricted: true, Projects: []string{"green"}}},
		"restricted to none":  {CertificatePut: api.CertificatePut{Type: "metrics", Restricted: true}},
	} {
		trusted, rights := rightsOf(c)
		s, _ := metricsServer(t, fixedAuth{Protocol: "tls", Username: "m", Trusted: trusted, Rights: rights})
		blue := name == "restricted to blue"
		for url, seen := range map[string]bool{"/1.0/metrics": blue, "/1.0/metrics?project=blue": blue, "/1.0/metrics?project=default": false} {
			w := scrape(s, url, "")
			text := w.Body.String()
			if strings.Contains(text, `project="blue"`) != seen || strings.Contains(text, `project="default"`) || strings.Contains(text, "lxd_go_") {
				t.Errorf("%s: GET %s: %d %s", name, url, w.Code, text)
			}
		}
	}
	s, _ = metricsServer(t, fixedAuth{Protocol: "tls", Username: "m", Rights: access.Metrics()})
	if w := scrape(s, "/1.0/metrics", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `name="c1"`) || !strings.Contains(w.Body.String(), "lxd_api") {
		t.Errorf("with a certificate for metrics: %d %s", w.Code, w.Body)
	}
}

// Nothing else answers on core.metrics_address, not even to those who may do everything.
func TestTheAddressOfMetrics(t *testing.T) {
	s, _ := metricsServer(t, root)
	h := http.HandlerFunc(s.metricsOnly)
	for url, want := range map[string]int{"/1.0/metrics": 200, "/1.0/metrics?project=blue": 200, "/": 404, "/1.0": 404, "/1.0/metrics/": 404, "/1.0/operations": 404, "/1.0/x/../metrics": 404} {
		if w := scrape(h, url, ""); w.Code != want {
			t.Errorf("%s: %d, want %d", url, w.Code, want)
		}
	}
}

func TestCallsAreCounted(t *testing.T) {
	s := testServer(t, root,
		Route{Method: "GET", Path: "/1.0/images/x", Handle: func(*Request) Response { return Empty() }},
		Route{Method: "GET", Path: "/1.0/containers/x", Handle: func(*Request) Response { return Fail(api.NotFound("no")) }},
		Route{Method: "GET", Path: "/1.0/instances/x", Handle: func(*Request) Response { panic("boom") }},
		Route{Method: "GET", Path: "/1.0/profiles/x", Handle: func(r *Request) Response {
			if n := r.server.counters.of["profile"].ongoing.Load(); n != 1 {
				t.Errorf("%d calls under way", n)
			}
			return Empty()
		}},
	)
	for _, path := range []string{"/1.0/images/x", "/1.0/images/x", "/1.0/images/none", "/1.0/containers/x", "/1.0/instances/x", "/1.0/profiles/x", "/nowhere"} {
		call(t, s, "GET", path, "")
	}
	want := map[string]metrics.Requests{
		"image": {Succeeded: 2, ClientErrors: 1}, "instance": {ClientErrors: 1, Failures: 1}, "profile": {Succeeded: 1}, "server": {ClientErrors: 1},
	}
	for _, got := range s.Requests() {
		w := want[got.Entity]
		w.Entity = got.Entity
		if got != w {
			t.Errorf("%+v, want %+v", got, w)
		}
	}
}

func TestEntityOf(t *testing.T) {
	for path, want := range map[string]string{
		"/1.0/virtual-machines/v/state": "instance", "/1.0/storage-pools/p/volumes": "storage_pool", "/1.0/cluster/members": "cluster_member",
		"/1.0": "server", "/1.0/auth/groups": "identity", "/1.0/networks": "network", "/1.0/warnings/1": "warning", "/other": "server", "/1.0/resources": "server",
	} {
		if got := entityOf(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
