package storage

import (
	"context"
	"errors"
	"slices"
	"sort"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

const (
	kindPoolCreate = "storage.pool.create"
	kindPoolDelete = "storage.pool.delete"
)

var (
	faultPoolBegun     = fault.New("storage.pool.create.begun")
	faultPoolCreated   = fault.New("storage.pool.create.created")
	faultPoolMounted   = fault.New("storage.pool.create.mounted")
	faultPoolDeleting  = fault.New("storage.pool.delete.begun")
	faultPoolUnmounted = fault.New("storage.pool.delete.unmounted")
	faultPoolRemoved   = fault.New("storage.pool.delete.removed")
)

// Pools lists the names of all pools.
func (s *Service) Pools() []string {
	names := []string{}
	for _, row := range s.pools.List() {
		names = append(names, row.Path[0])
	}
	return names
}

// DriversUsed names the drivers of the pools that exist, each once and in order.
func (s *Service) DriversUsed() []string {
	var names []string
	for _, row := range s.pools.List() {
		if !slices.Contains(names, row.Value.Driver) {
			names = append(names, row.Value.Driver)
		}
	}
	slices.Sort(names)
	return names
}

// Pool shows a pool.
func (s *Service) Pool(name string) (*api.StoragePool, store.Revision, error) {
	row, ok := s.pools.Get(name)
	if !ok {
		return nil, 0, errNoPool()
	}
	status := "Created"
	s.mu.Lock()
	if s.open[name] == nil {
		status = "Unavailable"
	}
	s.mu.Unlock()
	config := merge(row.Value.Config, nil)
	return &api.StoragePool{
		StoragePoolPut: api.StoragePoolPut{Config: config, Description: row.Value.Description},
		Name:           name, Driver: row.Value.Driver, Status: status, Locations: []string{"none"},
		UsedBy: s.poolUsers(name),
	}, row.Revision, nil
}

// poolUsers lists what is in a pool and what names it; nil if nothing.
func (s *Service) poolUsers(pool string) []string {
	var users []string
	for _, row := range s.volumes.List(pool) {
		users = append(users, volumeUser(idOf(row.Path)))
	}
	if s.UsersOfPool != nil {
		users = append(users, s.UsersOfPool(pool)...)
	}
	sort.Strings(users)
	return users
}

// volumeUser is the URL that stands for a volume in its pool's used_by.
func volumeUser(v VolumeID) string {
	if v.Type == VolumeContainer || v.Type == VolumeVM {
		return instanceURL(v)
	}
	return v.URL()
}

func poolURL(name string) string { return project.URL("", "storage-pools", name) }

// UpdatePool changes a pool: all of it, or with patch only the keys given. check sees the revision that is
// about to be replaced (ETag).
func (s *Service) UpdatePool(ctx context.Context, name string, put api.StoragePoolPut, patch bool, check func(store.Revision) error) error {
	release, err := s.hold(ctx, "update", lock.Exclusive(lock.ForPool(name)))
	if err != nil {
		return err
	}
	defer release()
	row, ok := s.pools.Get(name)
	if !ok {
		return errNoPool()
	}
	if err := check(row.Revision); err != nil {
		return err
	}
	next := *row.Value
	next.Config, next.Description = put.Config, put.Description
	if patch {
		next.Config = merge(row.Value.Config, put.Config)
		if put.Description == "" {
			next.Description = row.Value.Description
		}
	}
	if err := errors.Join(poolKeys.Validate(next.Config), poolKeys.CheckSupported(row.Value.Config, next.Config)); err != nil {
		return err
	}
	next.Config = config.WithoutEmpty(next.Config)
	if next.Config["source"] != row.Value.Config["source"] {
		return errors.New("Pool source cannot be changed when not in pending state")
	}
	if _, err := s.Store.Commit(ctx, s.pools.Replace(row, &next)); err != nil {
		return err
	}
	s.Events.Lifecycle(ctx, "default", "storage-pool-updated", poolURL(name), nil)
	return nil
}
