package instance

import (
	"context"
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

// force applies limits to a running instance: all of them, since a limit that is not named is lifted.
func (s *Service) force(ctx context.Context, id string, limits map[string]string) error {
	g, err := cgroup(limits, s.cpus(id, limits), s.Host.MemoryTotal)
	if err != nil {
		return err
	}
	return s.Runtime.Limits(ctx, id, g)
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
