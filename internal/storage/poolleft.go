package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/berthd/berth/api"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
)

// What a creation or a deletion of a pool that was cut off has left is on a disk that may be away by then. It is known by the folder that it was made
// in, which may come back, and the pool by its UUID: its name, and the place that the disk is mounted at, may be another's by then.

// poolEntry is what the journal keeps of a pool that is made or removed.
type poolEntry struct {
	Name string     `json:"name"`
	Pool poolRecord `json:"pool"`
	// Folder is the source; nil if it was yet to be made, or could not be reached.
	Folder *folderID `json:"folder,omitempty"`
	// Lost says that the pool was deleted although it could not be reached: nothing waits for it to come back.
	Lost bool `json:"lost,omitempty"`
}

func (e *poolEntry) source() string { return e.Pool.Config["source"] }

func (s *Service) entryOf(ctx context.Context, name string, r *poolRecord) (poolEntry, error) {
	folder, err := s.sourceID(ctx, r.Config["source"])
	return poolEntry{Name: name, Pool: *r, Folder: folder}, err
}

// external tells whether an entry's pool is in a folder of the user's.
func (s *Service) external(e poolEntry) bool {
	return e.source() != filepath.Join(s.poolsFolder(), e.Name)
}

// dropPool unmounts a pool and removes all that it made. It fails with ErrAway if that cannot be reached or changed.
func (s *Service) dropPool(ctx context.Context, e poolEntry) error {
	if err := s.shut(e.Name); err != nil {
		return err
	}
	return s.dropAs(ctx, e.Name, e)
}

// dropAs is dropPool for a pool that appears by another name than its own, or not at all.
func (s *Service) dropAs(ctx context.Context, name string, e poolEntry) error {
	d, err := s.newDriver(name, &e.Pool)
	if err != nil {
		return err
	}
	if err := d.Unmount(ctx); err != nil {
		return err
	}
	if err := faultPoolUnmounted.Hit(); err != nil {
		return err
	}
	if away := s.sourceAway(ctx, e); away != nil {
		if err := os.Remove(filepath.Join(s.poolsFolder(), name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return away
	}
	return d.Delete(ctx)
}

// sourceAway fails with ErrAway if the folder of an entry is not at its source: its disk is not mounted, or another one is.
func (s *Service) sourceAway(ctx context.Context, e poolEntry) error {
	if e.Folder == nil || !s.external(e) {
		return nil
	}
	at, err := s.sourceID(ctx, e.source())
	if err != nil || at != nil && *at == *e.Folder {
		return err
	}
	return fmt.Errorf("source path '%s' is not the folder that it was: is the disk mounted that it is on? It %w", e.source(), storagedriver.ErrAway)
}

// undoPool takes back what a creation has made. By now its name may be that of another pool, on another folder.
func (s *Service) undoPool(ctx context.Context, e poolEntry) error {
	row, ok := s.pools.Get(e.Name)
	switch {
	case !ok:
		return s.dropPool(ctx, e)
	case row.Value.UUID == e.Pool.UUID, row.Value.Config["source"] == e.source():
		return nil
	}
	return s.dropAs(ctx, storagedriver.Unfinished+e.Name, e)
}

func (s *Service) recoverPoolCreate(ctx context.Context, data json.RawMessage) error {
	var e poolEntry
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	return s.undoPool(ctx, e)
}

func (s *Service) recoverPoolDelete(ctx context.Context, data json.RawMessage) error {
	var e poolEntry
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	row, ok := s.pools.Get(e.Name)
	if !ok || row.Value.UUID != e.Pool.UUID {
		return nil // by another deletion
	}
	if len(s.poolUsers(e.Name)) > 0 { // the start after the kill could not finish it, and it has been used since
		return nil
	}
	err := s.dropPool(ctx, e)
	if e.Lost && errors.Is(err, storagedriver.ErrAway) {
		slog.Warn("A storage pool is deleted that cannot be reached or changed; what is left there stays", "pool", e.Name, "source", e.source(), "err", err)
		err = nil
	}
	if err != nil {
		return err
	}
	_, err = s.Store.Commit(ctx, s.pools.RemoveAt(row.Revision, e.Name))
	return err
}

// objectOf names a folder that an unfinished change of a pool concerns; "" if there is none.
func objectOf(folder *folderID) string {
	if folder == nil {
		return ""
	}
	return fmt.Sprintf("folder %x %x", folder.System, folder.Inode)
}

// guardPools has entries of pools tried again, and keep the folder for themselves that is to be cleared until then.
func (s *Service) guardPools() {
	of := func(data json.RawMessage) (e poolEntry, err error) {
		err = json.Unmarshal(data, &e)
		return e, err
	}
	guard := journal.Guard{
		Objects: func(data json.RawMessage) []string {
			e, err := of(data)
			if err != nil {
				return nil
			}
			return []string{e.Pool.UUID, objectOf(e.Folder)}
		},
		Ready: func(ctx context.Context, data json.RawMessage) error {
			e, err := of(data)
			if err != nil {
				return err
			}
			if row, ok := s.pools.Get(e.Name); ok && row.Value.UUID == e.Pool.UUID {
				return s.Answers(ctx, e.Name)
			}
			_, err = s.sourceID(ctx, e.source())
			return err
		},
		Hold: func(ctx context.Context, data json.RawMessage) (func(), error) {
			e, err := of(data)
			if err != nil {
				return nil, err
			}
			release, err := s.hold(ctx, "recover", lock.Exclusive(lock.ForPool(e.Name)))
			if err != nil {
				return nil, err
			}
			free, err := s.holdSource(ctx, "recover", &e.Pool)
			if err != nil {
				release()
				return nil, err
			}
			return func() { free(); release() }, nil
		},
	}
	s.Journal.Guard(kindPoolCreate, guard)
	s.Journal.Guard(kindPoolDelete, guard)
}

// settleSource makes an attempt at what keeps a folder from being made a pool of.
func (s *Service) settleSource(ctx context.Context, source string) {
	if folder, err := s.sourceID(ctx, source); err == nil && folder != nil {
		s.Journal.Settle(ctx, objectOf(folder), func(string) bool { return false })
	}
}

// unsettledSource fails while an unfinished change of a pool is to clear a folder.
func (s *Service) unsettledSource(ctx context.Context, source string) error {
	folder, err := s.sourceID(ctx, source)
	if err != nil || folder == nil {
		return err
	}
	if err := s.Journal.Unsettled(objectOf(folder), func(string) bool { return false }); err != nil {
		return api.Unavailable("Source path '%s': %w", source, err)
	}
	return nil
}

// unclaimed fails if there is a pool on a folder already. That it is empty says nothing: the pool's disk may be away.
func (s *Service) unclaimed(source string) error {
	for _, row := range s.pools.List() {
		if row.Value.Config["source"] == source {
			return api.BadRequest("Source path '%s' is that of storage pool %q", source, row.Path[0])
		}
	}
	return nil
}
