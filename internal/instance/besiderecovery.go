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

// urgent is the run that a stop ends beside a recovery that has the instance, or nil: a forced one does, and the host's shutdown.
func (s *Service) urgent(i *Instance, other *lock.Held, force bool) *run {
	if other == nil || other.Action() != recovering || !s.running(i) {
		return nil
	}
	r := s.runs.get(i.id())
	if r == nil || r.uuid != i.UUID || !force && !r.atShutdown.Load() {
		return nil
	}
	return r
}

// stopBeside ends a run whose instance somebody holds who does nothing to it, such as a recovery, and keeps others from the instance meanwhile: what
// they bring about is not to be ended. Who notices the end of the run cleans up once the holder is done. It tells whether the holder was still there,
// and the run.
func (s *Service) stopBeside(ctx context.Context, i *Instance, r *run, holder *lock.Held, force bool, timeout time.Duration) (stopped bool, err error) {
	release, ok := holder.Keep()
	if !ok {
		return false, nil
	}
	defer release()
	if s.runs.get(i.id()) != r {
		return false, nil
	}
	recorded := !r.atShutdown.Load()
	s.copyFreezes.abort(i.id())
	if recorded {
		s.recordStopping(ctx, i, stoppingBy(force))
	}
	_, err = s.bringDown(ctx, i, force, timeout, func() {})
	if err != nil && recorded && !s.daemonEnds(ctx) {
		s.recordStopping(ctx, i, "")
	}
	return true, err
}
