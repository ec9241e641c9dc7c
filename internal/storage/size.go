package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/treecopy"
)

// SetQuota limits a volume, in bytes; 0 is no limit. Where the pool keeps no quotas the log says so, as LXD's does: sizes are kept, for
// they hold once the pool's file system keeps quotas, or in another pool.
func (s *Service) SetQuota(ctx context.Context, vol VolumeID, bytes int64) error {
	d, err := s.driver(ctx, vol.Pool)
	if err != nil {
		return err
	}
	err = errors.ErrUnsupported
	if q, ok := d.(storagedriver.QuotaSetter); ok {
		err = q.SetQuota(ctx, vol.onDisk(), bytes)
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if bytes > 0 {
		slog.Warn("The size of a volume is not enforced: the file system of its pool keeps no quotas",
			"pool", vol.Pool, "volume", vol.onDisk().String(), "size", bytes)
	}
	return nil
}

// applySize holds a custom volume to its size.
func (s *Service) applySize(ctx context.Context, id VolumeID, c map[string]string) error {
	if c["size"] == "" && s.unlimited(id) {
		return nil
	}
	bytes, err := config.ParseSize(c["size"])
	if c["size"] != "" && err != nil {
		return api.BadRequest("Invalid size of volume %q: %w", id.Name, err)
	}
	return s.SetQuota(ctx, id, bytes)
}

// unlimited tells whether a volume has had no size so far.
func (s *Service) unlimited(id VolumeID) bool {
	row, ok := s.volumes.Get(id.path()...)
	return !ok || row.Value.Config["size"] == ""
}

// isRate accepts a bound of rsync.bwlimit.
func isRate(value string) error {
	_, err := rate(value)
	return err
}

// rate reads a bound in bytes a second, as rsync's --bwlimit does: KiB unless there is a unit. 0 is none.
func rate(value string) (int64, error) {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		if n < 0 || n > 1<<40 {
			return 0, fmt.Errorf("Invalid value: %s", value)
		}
		return n << 10, nil
	}
	return config.ParseSize(value)
}

// paced has what is copied with a context take no more than the pools' rsync.bwlimit. Contents that a pool can share are not copied.
func (s *Service) paced(ctx context.Context, pools ...string) context.Context {
	var least int64
	for _, pool := range pools {
		row, ok := s.pools.Get(pool)
		if !ok || row.Value.Config["rsync.bwlimit"] == "" {
			continue
		}
		if n, err := rate(row.Value.Config["rsync.bwlimit"]); err == nil && n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	if least == 0 {
		return ctx
	}
	return treecopy.Paced(ctx, least)
}
