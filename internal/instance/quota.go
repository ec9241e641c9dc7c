package instance

import (
	"context"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/storage"
)

// applyQuota holds the root volume to a size; "" is no limit.
func (s *Service) applyQuota(ctx context.Context, i *Instance, size string) error {
	bytes, err := config.ParseSize(size)
	if size != "" && err != nil {
		return api.BadRequest("Invalid size of the root disk: %w", err)
	}
	return s.Volumes.SetQuota(ctx, i.volume(), bytes)
}

// limitCopy holds a volume that is about to become an instance's root volume to the instance's size: a copy has no quota of its own.
func (s *Service) limitCopy(ctx context.Context, i *Instance, volume storage.VolumeID) error {
	e := s.effectiveOf(i)
	size := e.Devices[e.Root]["size"]
	if size == "" {
		return nil
	}
	bytes, err := config.ParseSize(size)
	if err != nil {
		return api.BadRequest("Invalid size of the root disk: %w", err)
	}
	return s.Volumes.SetQuota(ctx, volume, bytes)
}

// applyPendingQuota applies a quota that had to wait for a stop.
func (s *Service) applyPendingQuota(ctx context.Context, i *Instance) error {
	e := s.effectiveOf(i)
	size := i.Config["volatile."+e.Root+".apply_quota"]
	if size == "" {
		return nil
	}
	return s.applyQuota(ctx, i, size)
}
