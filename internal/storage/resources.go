package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/bounded"
)

// probeTime bounds the wait for what a pool says of itself.
const probeTime = 5 * time.Second

// Resources tells how full a pool is.
func (s *Service) Resources(ctx context.Context, name string) (*api.StoragePoolResources, error) {
	if _, err := s.driver(ctx, name); err != nil {
		return nil, err
	}
	st, err := bounded.Do(ctx, &s.probes, name, probeTime, func() (st unix.Statfs_t, err error) {
		err = unix.Statfs(filepath.Join(s.poolsFolder(), name), &st)
		return st, err
	})
	if errors.Is(err, bounded.ErrHung) {
		return nil, api.Unavailable("Storage pool %q unavailable: %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("resources of pool %s: %w", name, err)
	}
	size := uint64(st.Bsize)
	res := &api.StoragePoolResources{}
	res.Space.Total = st.Blocks * size
	res.Space.Used = (st.Blocks - st.Bfree) * size
	res.Inodes.Total = st.Files
	res.Inodes.Used = st.Files - st.Ffree
	return res, nil
}
