package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/bounded"
	"github.com/berthd/berth/internal/config"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
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

// poolEntry is what the journal keeps of a pool that is made or removed.
type poolEntry struct {
	Name string     `json:"name"`
	Pool poolRecord `json:"pool"`
}

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
	source := settings["source"]
	switch {
	case source == "":
		source = own
	case !filepath.IsAbs(source):
		return nil, api.BadRequest("Source path '%s' doesn't exist", source)
	}
	source = filepath.Clean(source)
	real, err := s.realSource(ctx, source)
	if err != nil {
		return nil, err
	}
	if root, err := filepath.EvalSymlinks(s.Root); err == nil && source != own && below(real, root) {
		return nil, api.BadRequest("Source path '%s' is within the daemon's folder", source)
	}
	settings["source"] = source
	return &poolRecord{Driver: req.Driver, Description: req.Description, Config: settings}, nil
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
	entry, err := s.Journal.Begin(ctx, kindPoolCreate, poolEntry{name, *r})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			after := context.WithoutCancel(ctx)
			err = errors.Join(err, s.dropPool(after, name, r), entry.Close(after))
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

func (s *Service) recoverPoolCreate(ctx context.Context, data json.RawMessage) error {
	var e poolEntry
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	if _, ok := s.pools.Get(e.Name); ok {
		return nil
	}
	return s.dropPool(ctx, e.Name, &e.Pool)
}

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
