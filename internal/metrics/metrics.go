// Package metrics shows the figures of instances and of the daemon itself as series that Prometheus and its like read. Their names are
// LXD's, as dashboards are made for them.
package metrics

import (
	"context"
	"runtime"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/berthd/berth/internal/instance"
)

// fresh is how long figures are shown again: several who scrape one server cost no more than one.
const fresh = 8 * time.Second

// Instances is what is measured; *instance.Service implements it.
type Instances interface {
	Measure(ctx context.Context) []instance.Metrics
	Counts() []instance.Count
}

// Requests are the calls of one kind of entity since the daemon's start.
type Requests struct {
	Entity                            string
	Ongoing                           int64
	Succeeded, ClientErrors, Failures int64
}

// Deps is where the figures come from. Each function may be nil.
type Deps struct {
	Instances Instances
	Requests  func() []Requests
	// Operations and Warnings count what there is now.
	Operations, Warnings func() int
	Started              time.Time
}

// Service gathers the figures.
type Service struct {
	Deps
	now func() time.Time

	turn chan struct{} // held while instances are measured: others wait for the same figures, for as long as their requests last
	at   time.Time
	last []instance.Metrics
}

// New makes the service.
func New(d Deps) *Service { return &Service{Deps: d, now: time.Now, turn: make(chan struct{}, 1)} }

// Families are the series of the instances in the projects that allowed accepts; nil accepts all. server adds those of the daemon itself. It fails
// if ctx ends while others read the figures.
func (s *Service) Families(ctx context.Context, allowed func(project string) bool, server bool) ([]*dto.MetricFamily, error) {
	measured, err := s.measured(ctx)
	if err != nil {
		return nil, err
	}
	var b builder
	for _, m := range measured {
		if allowed == nil || allowed(m.Project) {
			b.instance(&m)
		}
	}
	if s.Instances != nil {
		for _, c := range s.Instances.Counts() {
			if allowed == nil || allowed(c.Project) {
				b.add(instancesTotal, float64(c.N), "project", c.Project, "type", string(c.Type))
			}
		}
	}
	if server {
		s.server(&b)
	}
	return b.families(), nil
}

// measured are figures that are fresh enough. Whoever asks first reads them for all, and its end is not theirs.
func (s *Service) measured(ctx context.Context) ([]instance.Metrics, error) {
	if s.Instances == nil {
		return nil, nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.turn }()
	if s.at.IsZero() || s.now().Sub(s.at) >= fresh {
		s.last, s.at = s.Instances.Measure(context.WithoutCancel(ctx)), s.now()
	}
	return s.last, nil
}

func (s *Service) server(b *builder) {
	if s.Requests != nil {
		for _, r := range s.Requests() {
			b.add(requestsOngoing, float64(r.Ongoing), "entity_type", r.Entity)
			b.add(requestsCompleted, float64(r.Succeeded), "entity_type", r.Entity, "result", "succeeded")
			b.add(requestsCompleted, float64(r.ClientErrors), "entity_type", r.Entity, "result", "error_client")
			b.add(requestsCompleted, float64(r.Failures), "entity_type", r.Entity, "result", "error_server")
		}
	}
	if s.Operations != nil {
		b.add(operationsTotal, float64(s.Operations()))
	}
	if s.Warnings != nil {
		b.add(warningsTotal, float64(s.Warnings()))
	}
	if !s.Started.IsZero() {
		b.add(uptime, s.now().Sub(s.Started).Seconds())
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.add(goroutines, float64(runtime.NumGoroutine()))
	for _, f := range goFigures {
		b.add(f.series, float64(f.of(&m)))
	}
}
