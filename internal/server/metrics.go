package server

import (
	"bytes"
	"net/http"
	"strings"
	"sync/atomic"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/metrics"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/serverconfig"
)

// metricsPath is the one path that core.metrics_address answers on.
const metricsPath = "/1.0/metrics"

type metricsAPI struct {
	svc    *metrics.Service
	config *serverconfig.Service
}

func (a metricsAPI) routes() []Route {
	if a.svc == nil {
		return nil
	}
	return []Route{{Method: "GET", Path: metricsPath, Public: true, Live: true, Handle: a.get}}
}

// get shows the figures of a project's instances, or those of all and of the daemon; to callers who may not see all, those of their projects.
func (a metricsAPI) get(r *Request) Response {
	one := r.Query("project")
	ofProject := func(name string) bool { return r.caller.May(access.CanViewMetrics, access.InProject(name)) }
	all := r.caller.May(access.CanViewMetrics, access.Object{Entity: access.Server}) || a.config != nil && !a.config.Bool("core.metrics_authentication")
	switch {
	case one != "" && (all || ofProject(one)):
		return exposed(a.svc.Families(r.Context(), func(project string) bool { return project == one }, false))
	case one == "" && all:
		return exposed(a.svc.Families(r.Context(), nil, true))
	case one == "" && r.caller.Rights.Somewhere(access.CanViewMetrics):
		return exposed(a.svc.Families(r.Context(), ofProject, false))
	}
	return Fail(request.ErrNotAuthorized)
}

func exposed(families []*dto.MetricFamily, err error) Response {
	if err != nil {
		return Fail(err)
	}
	return exposition(families)
}

// exposition answers with series, in the format that the client prefers.
type exposition []*dto.MetricFamily

func (e exposition) respond(w http.ResponseWriter, r *Request) error {
	format := expfmt.NegotiateIncludingOpenMetrics(r.Header)
	var text bytes.Buffer
	encoder := expfmt.NewEncoder(&text, format)
	for _, f := range e {
		if err := encoder.Encode(f); err != nil {
			return Fail(err).respond(w, r)
		}
	}
	// OpenMetrics ends with a mark, which is a comment elsewhere.
	if _, err := expfmt.FinalizeOpenMetrics(&text); err != nil {
		return Fail(err).respond(w, r)
	}
	w.Header().Set("Content-Type", string(format))
	_, err := w.Write(text.Bytes())
	return err
}

// metricsOnly answers on an address that is for metrics alone.
func (s *Server) metricsOnly(w http.ResponseWriter, r *http.Request) {
	if r.URL.EscapedPath() != metricsPath {
		s.answer(w, &Request{Request: r, server: s}, Fail(api.NotFound("not found")))
		return
	}
	s.ServeHTTP(w, r)
}

// entities are the kinds of objects that calls are counted by, by the first element of their path.
var entities = []string{
	"certificate", "cluster_member", "identity", "image", "instance", "network", "operation", "profile", "project", "server", "storage_pool", "warning",
}

// entityOf is the kind of object that a path is about.
func entityOf(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "/1.0/"), "/")
	switch name {
	case "instances", "containers", "virtual-machines":
		return "instance"
	case "storage-pools", "storage-volumes":
		return "storage_pool"
	case "cluster":
		return "cluster_member"
	case "auth":
		return "identity"
	}
	for _, e := range entities {
		if name == e+"s" {
			return e
		}
	}
	return "server"
}

// counters count the calls of each kind.
type counters struct{ of map[string]*counter }

type counter struct {
	ongoing, succeeded, client, failed atomic.Int64
}

func newCounters() counters {
	c := counters{of: map[string]*counter{}}
	for _, e := range entities {
		c.of[e] = &counter{}
	}
	return c
}

// began counts a call, and gives what is to be told of its end: the status of the answer.
func (c counters) began(path string) func(status int) {
	n := c.of[entityOf(path)]
	n.ongoing.Add(1)
	return func(status int) {
		n.ongoing.Add(-1)
		switch {
		case status >= 500:
			n.failed.Add(1)
		case status >= 400:
			n.client.Add(1)
		default:
			n.succeeded.Add(1)
		}
	}
}

// Requests are the calls that were counted since the start, for metrics.
func (s *Server) Requests() []metrics.Requests {
	var list []metrics.Requests
	for _, e := range entities {
		n := s.counters.of[e]
		list = append(list, metrics.Requests{
			Entity: e, Ongoing: n.ongoing.Load(), Succeeded: n.succeeded.Load(), ClientErrors: n.client.Load(), Failures: n.failed.Load(),
		})
	}
	return list
}
