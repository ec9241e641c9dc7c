package instance

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/berthd/berth/internal/spec"
)

// cpus picks the CPUs for an instance with these limits, beside those that run.
func (s *Service) cpus(id string, limits map[string]string) string {
	if limits["limits.cpu"] == "" {
		return ""
	}
	demands := s.demands()
	demands[id] = limits["limits.cpu"]
	return balance(demands, s.Host.CPUs)[id]
}

// demands are the limits.cpu that are in force, by instance.
func (s *Service) demands() map[string]string {
	demands := map[string]string{}
	for _, r := range s.runs.all() {
		if l := r.live(); l != nil && l.Limits["limits.cpu"] != "" {
			demands[r.id] = l.Limits["limits.cpu"]
		}
	}
	return demands
}

// force brings the limits of a running instance from one set of keys to another.
func (s *Service) force(ctx context.Context, id string, before, after map[string]string) error {
	from, to, err := s.limitsOf(id, before, after)
	if err != nil {
		return err
	}
	return s.Runtime.Limits(ctx, id, from, to)
}

// lookLimits says what force will replace.
func (s *Service) lookLimits(id string, before, after map[string]string) (json.RawMessage, error) {
	from, to, err := s.limitsOf(id, before, after)
	if err != nil {
		return nil, err
	}
	return s.Runtime.LookLimits(id, from, to)
}

func (s *Service) limitsOf(id string, before, after map[string]string) (from, to spec.Cgroup, err error) {
	if from, err = cgroup(before, s.cpus(id, before), s.Host.MemoryTotal); err != nil {
		return from, to, err
	}
	to, err = cgroup(after, s.cpus(id, after), s.Host.MemoryTotal)
	return from, to, err
}

// limitsBack undoes force, as far as the instance has by now the limits that it had before the step.
func (s *Service) limitsBack(ctx context.Context, id string, record *stepRecord, has *live) error {
	switch {
	case !maps.Equal(has.Limits, record.Before.Limits):
		return nil
	case record.SeenLimits == nil: // begun by a daemon that did not look
		return s.force(ctx, id, record.After.Limits, has.Limits)
	}
	return s.Runtime.RestoreLimits(ctx, id, record.SeenLimits)
}

// rebalance spreads the instances that ask for a number of CPUs anew, after one of them has started, ended or changed its
// limits. It takes no instance's lock, since it writes nothing but CPUs; s.runs.cpus makes the later of two calls see, and write
// for, all instances.
func (s *Service) rebalance(ctx context.Context) {
	s.runs.cpus.Lock()
	defer s.runs.cpus.Unlock()
	for id, set := range balance(s.demands(), s.Host.CPUs) {
		if err := s.Runtime.CPUs(ctx, id, set); err != nil && s.runs.get(id) != nil {
			s.Log.Warn("CPUs of an instance could not be changed", "instance", id, "err", err)
		}
	}
}

// rebalanceAfter is rebalance after a run has come or gone, if that makes a difference.
func (s *Service) rebalanceAfter(ctx context.Context, r *run) {
	if r.live().Limits["limits.cpu"] != "" {
		s.rebalance(ctx)
	}
}
