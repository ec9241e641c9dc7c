package storage

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/lock"
	"github.com/google/uuid"
)

// CreatePool makes a pool and mounts it.
func (s *Service) CreatePool(ctx context.Context, req api.StoragePoolsPost) error {
	switch {
	case req.Name == "":
		return api.BadRequest("No name provided")
	case strings.Contains(req.Name, "/"):
		return api.BadRequest("Storage pool names may not contain slashes")
	case req.Driver == "":
		return api.BadRequest("No driver provided")
	case strings.HasPrefix(req.Name, ".") || strings.ContainsFunc(req.Name, func(r rune) bool { return r < ' ' }) || len(req.Name) > 200:
		return api.BadRequest("Invalid storage pool name %q", req.Name)
	}
	s.settleSource(ctx, s.sourceOfPool(req))
	release, err := s.hold(ctx, "create", lock.Exclusive(lock.ForPool(req.Name)))
	if err != nil {
		return err
	}
	defer release()
	if _, ok := s.pools.Get(req.Name); ok {
		return api.Conflict("The storage pool already exists: The record already exists")
	}
	record, err := s.newPool(ctx, req)
	if err != nil {
		return err
	}
	free, err := s.holdSource(ctx, "create", record)
	if err != nil {
		return err
	}
	defer free()
	if err := s.unsettledSource(ctx, record.Config["source"]); err != nil {
		return err
	}
	if err := s.makePool(ctx, req.Name, record); err != nil {
		return err
	}
	s.Events.Lifecycle(ctx, "default", "storage-pool-created", poolURL(req.Name), map[string]any{"driver": req.Driver})
	return nil
}

// newPool checks and completes the configuration of a pool to be.
func (s *Service) newPool(ctx context.Context, req api.StoragePoolsPost) (*poolRecord, error) {
	if _, ok := s.Drivers[req.Driver]; !ok {
		return nil, s.errUnknownDriver(req.Driver)
	}
	if err := errors.Join(poolKeys.Validate(req.Config), poolKeys.CheckSupported(nil, req.Config)); err != nil {
		return nil, err
	}
	settings := config.WithoutEmpty(req.Config)
	own := filepath.Join(s.poolsFolder(), req.Name)
	source := s.sourceOfPool(req)
	if !filepath.IsAbs(source) {
		return nil, api.BadRequest("Source path '%s' doesn't exist", source)
	}
	real, err := s.realSource(ctx, source)
	if err != nil {
		return nil, err
	}
	if root, err := filepath.EvalSymlinks(s.Root); err == nil && source != own && below(real, root) {
		return nil, api.BadRequest("Source path '%s' is within the daemon's folder", source)
	}
	settings["source"] = source
	return &poolRecord{UUID: uuid.NewString(), Driver: req.Driver, Description: req.Description, Config: settings}, nil
}

// sourceOfPool is the folder that a pool to be is made of: by default one of its own.
func (s *Service) sourceOfPool(req api.StoragePoolsPost) string {
	if source := req.Config["source"]; source != "" {
		return filepath.Clean(source)
	}
	return filepath.Join(s.poolsFolder(), req.Name)
}

func below(path, root string) bool {
	rel, err := filepath.Rel(root, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// makePool does the steps of a creation, under the journal.
func (s *Service) makePool(ctx context.Context, name string, r *poolRecord) (err error) {
	d, err := s.newDriver(name, r)
	if err != nil {
		return err
	}
	// Before the journal knows of it: an undo must never reach into a place that was taken already.
	if c, ok := d.(storagedriver.Checker); ok {
		if _, err := ofSource(ctx, s, r.Config["source"], func() (struct{}, error) {
			if err := c.Check(); err != nil {
				return struct{}{}, api.BadRequest("%w", err)
			}
			return struct{}{}, nil
		}); err != nil {
			return err
		}
	}
	if err := s.unclaimed(r.Config["source"]); err != nil {
		return err
	}
	about, err := s.entryOf(ctx, name, r)
	if err != nil {
		return err
	}
	entry, err := s.Journal.Begin(ctx, kindPoolCreate, about)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			after := context.WithoutCancel(ctx)
			if undone := s.undoPool(after, about); undone != nil {
				entry.Leave(undone)
				err = errors.Join(err, undone)
				return
			}
			err = errors.Join(err, entry.Close(after))
		}
	}()
	if err := faultPoolBegun.Hit(); err != nil {
		return err
	}
	if err := d.Create(ctx); err != nil {
		return err
	}
	if err := faultPoolCreated.Hit(); err != nil {
		return err
	}
	if err := d.Mount(ctx); err != nil {
		return err
	}
	if err := faultPoolMounted.Hit(); err != nil {
		return err
	}
	if _, err := s.Store.Commit(ctx, s.pools.Create(r, name), entry.Done()); err != nil {
		return err
	}
	s.mu.Lock()
	s.open[name] = d
	s.mu.Unlock()
	return nil
}
