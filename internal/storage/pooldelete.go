package storage

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/berthd/berth/api"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

// DeletePool removes a pool that nothing uses. One whose disk has gone, or takes no changes any more, is forgotten: what it cannot reach stays.
func (s *Service) DeletePool(ctx context.Context, name string) error {
	if err := s.Answers(ctx, name); err != nil { // what hangs would keep the pool's lock
		return err
	}
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
	_, lost := s.driver(ctx, name)
	if s.mounting(name) { // before the journal says that it goes
		return errStillMounting(name)
	}
	free, err := s.holdSource(ctx, "delete", row.Value)
	if err != nil {
		return err
	}
	defer free()
	if err := s.deletePool(ctx, name, row, lost); err != nil {
		return err
	}
	s.Events.Lifecycle(ctx, "default", "storage-pool-deleted", poolURL(name), nil)
	return nil
}

// deletePool does the steps of a deletion, under the journal. lost says why the pool is not to be reached, if it is not.
func (s *Service) deletePool(ctx context.Context, name string, row store.Row[poolRecord], lost error) error {
	about, err := s.entryOf(ctx, name, row.Value)
	if err != nil {
		return err
	}
	if lost == nil {
		lost = s.elsewhere(ctx, about)
	}
	about.Lost = lost != nil
	entry, err := s.Journal.Begin(ctx, kindPoolDelete, about)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	for _, step := range []func() error{
		faultPoolDeleting.Hit,
		func() error {
			err := s.dropPool(ctx, about)
			if errors.Is(err, storagedriver.ErrAway) {
				lost, err = err, nil
			}
			return err
		},
		faultPoolRemoved.Hit,
		func() error {
			_, err := s.Store.Commit(ctx, s.pools.RemoveAt(row.Revision, name), entry.Done())
			return err
		},
	} {
		if err := step(); err != nil {
			if about.Lost { // nothing has changed there, and nothing is to be made where a disk is to be mounted
				return errors.Join(err, entry.Close(ctx))
			}
			if again := s.reopenPool(ctx, name); again != nil {
				entry.Leave(again)
				return errors.Join(err, again)
			}
			return errors.Join(err, entry.Close(ctx))
		}
	}
	if lost != nil {
		slog.Warn("A storage pool is deleted that cannot be reached or changed; what is left there stays",
			"pool", name, "source", row.Value.Config["source"], "err", lost)
	}
	return nil
}

// elsewhere fails if what a pool shows is not what its source is by now, as after a lazy unmount of its disk.
func (s *Service) elsewhere(ctx context.Context, e poolEntry) error {
	shown, err := s.sourceID(ctx, filepath.Join(s.poolsFolder(), e.Name))
	if err != nil || e.Folder != nil && shown != nil && *shown == *e.Folder {
		return err
	}
	return api.Unavailable("Source path '%s' is not what the pool shows", e.source())
}

// reopenPool makes a pool usable again whose deletion failed: it was empty, so nothing is lost. Where it succeeds the entry of the deletion must not
// stay behind, for by the next start there may be something in the pool.
func (s *Service) reopenPool(ctx context.Context, name string) error {
	row, ok := s.pools.Get(name)
	if !ok {
		return nil
	}
	d, err := s.newDriver(name, row.Value)
	if err != nil {
		return err
	}
	if err := d.Repair(ctx); err != nil {
		return err
	}
	_, err = s.driver(ctx, name)
	return err
}
