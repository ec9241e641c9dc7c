package storage

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
)

// dropPool unmounts a pool and removes all that it made.
func (s *Service) dropPool(ctx context.Context, name string, r *poolRecord) error {
	d, err := s.newDriver(name, r)
	if err != nil {
		return err
	}
	if err := s.shut(name); err != nil {
		return err
	}
	if err := d.Unmount(ctx); err != nil {
		return err
	}
	if err := faultPoolUnmounted.Hit(); err != nil {
		return err
	}
	return d.Delete(ctx)
}

// DeletePool removes a pool that nothing uses.
func (s *Service) DeletePool(ctx context.Context, name string) error {
	release, err := s.hold(ctx, "delete", lock.Exclusive(lock.ForPool(name)))
	if err != nil {
		return err
	}
	defer release()
	row, ok := s.pools.Get(name)
	if !ok {
		return errNoPool()
	}
	if len(s.poolUsers(name)) > 0 {
		return api.BadRequest("The storage pool is currently in use")
	}
	if s.mounting(name) { // before the journal says that it goes
		return errStillMounting(name)
	}
	free, err := s.holdSource(ctx, "delete", row.Value)
	if err != nil {
		return err
	}
	defer free()
	entry, err := s.Journal.Begin(ctx, kindPoolDelete, poolEntry{name, *row.Value})
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	for _, step := range []func() error{
		faultPoolDeleting.Hit,
		func() error { return s.dropPool(ctx, name, row.Value) },
		faultPoolRemoved.Hit,
		func() error {
			_, err := s.Store.Commit(ctx, s.pools.Remove(name), entry.Done())
			return err
		},
	} {
		if err := step(); err != nil {
			return errors.Join(err, s.reopenPool(ctx, name), entry.Close(ctx))
		}
	}
	s.Events.Lifecycle(ctx, "default", "storage-pool-deleted", poolURL(name), nil)
	return nil
}

// reopenPool makes a pool usable again whose deletion failed: it was empty, so nothing is lost. The entry of the deletion must not
// stay behind, for by the next start there may be something in the pool.
func (s *Service) reopenPool(ctx context.Context, name string) error {
	if err := os.Mkdir(filepath.Join(s.poolsFolder(), name), 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if row, ok := s.pools.Get(name); ok {
		if d, err := s.newDriver(name, row.Value); err == nil {
			_ = d.Create(ctx) // of what is there still it makes nothing anew, and mounting it does the rest
		}
	}
	_, err := s.driver(ctx, name)
	return err
}

func (s *Service) recoverPoolDelete(ctx context.Context, data json.RawMessage) error {
	var e poolEntry
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	if len(s.poolUsers(e.Name)) > 0 { // the start after the kill could not finish it, and it has been used since
		return nil
	}
	if err := s.dropPool(ctx, e.Name, &e.Pool); err != nil {
		return err
	}
	_, err := s.Store.Commit(ctx, s.pools.Remove(e.Name))
	return err
}
