package instance

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/storage"
)

// A recovery of an earlier change may hang on a disk, as nothing that it does there can be interrupted. What follows keeps it from holding back what does
// not need that disk: the pools are asked first, and who must end a run does not wait.

// recovering is the action of holdToRecover.
const recovering = "recover"

// poolsAnswer fails if a pool that an entry of the journal names, or that the instance is in, hangs.
func (s *Service) poolsAnswer(ctx context.Context, i *Instance, data json.RawMessage) error {
	var c struct { // not all records have all of them
		Pool    string             `json:"pool"`
		NewPool string             `json:"new_pool"`
		Volumes []storage.VolumeID `json:"volumes"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return err
	}
	pools := []string{i.Pool, c.Pool, c.NewPool}
	for _, v := range c.Volumes {
		pools = append(pools, v.Pool)
	}
	if row, ok := s.instances.Get(i.Project, i.Name); ok {
		pools = append(pools, row.Value.Pool)
	}
	slices.Sort(pools)
	for _, pool := range slices.Compact(pools) {
		if pool == "" {
			continue
		}
		if err := s.Volumes.Answers(ctx, pool); err != nil {
			return err
		}
	}
	return nil
}

// urgent tells whether a stop goes on beside a recovery: a forced one does, and the host's shutdown.
func (s *Service) urgent(i *Instance, other *lock.Held, force bool) bool {
	if other == nil || other.Action() != recovering || !s.running(i) {
		return false
	}
	r := s.runs.get(i.id())
	return r != nil && (force || r.atShutdown.Load())
}

// stopBeside ends an instance that a recovery holds. Who notices its end cleans up once the recovery is over.
func (s *Service) stopBeside(ctx context.Context, i *Instance, force bool, timeout time.Duration) error {
	r := s.runs.get(i.id())
	if r == nil {
		return nil // it has ended by itself
	}
	recorded := !r.atShutdown.Load()
	s.copyFreezes.abort(i.id())
	if recorded {
		s.recordStopping(ctx, i, stoppingBy(force))
	}
	_, err := s.bringDown(ctx, i, force, timeout, func() {})
	if err != nil && recorded && !s.daemonEnds(ctx) {
		s.recordStopping(ctx, i, "")
	}
	return err
}
