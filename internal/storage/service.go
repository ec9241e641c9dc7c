package storage

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berthd/berth/api"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/store"
)

// Open makes the driver of one pool.
type Open func(c storagedriver.Config) storagedriver.Driver

// Deps is what the service stands on.
type Deps struct {
	Store   *store.Store
	Journal *journal.Journal
	Events  event.Publisher
	// Root is the daemon's folder; pools appear below <Root>/storage-pools.
	Root string
	// Drivers are the drivers there are, by the name the API knows them by.
	Drivers map[string]Open
	// UsersOfPool lists the URLs of what names a pool beyond its volumes: profiles. May be nil.
	UsersOfPool func(pool string) []string
	// UsersOfVolume lists the URLs of what a custom volume is attached to: instances and profiles. May be nil.
	UsersOfVolume func(vol VolumeID) []string
}

// Service keeps pools and volumes. Its methods are safe for concurrent use.
type Service struct {
	Deps
	pools   *store.Table[poolRecord]
	volumes *store.Table[volumeRecord]
	images  keyed // readers make instances from a prepared image, writers make or drop it
	changes keyed // changes of a pool, or of a custom volume, one at a time

	// life ends with the service, and with it the mounting of pools.
	life     context.Context
	end      context.CancelFunc
	patience time.Duration // see mountPatience

	mu      sync.Mutex                      // never held over a driver's work
	open    map[string]storagedriver.Driver // pools that are mounted
	opening map[string]*opening             // pools that are being mounted
	mounts  map[VolumeID]int
	// attached are the custom volumes that devices hold, by the word that names the device.
	attached map[string]attachment
}

type poolRecord struct {
	Driver      string            `json:"driver"`
	Description string            `json:"description"`
	Config      map[string]string `json:"config"`
}

// New makes the service and its journal handlers. Start makes the pools usable.
func New(d Deps) *Service {
	s := &Service{
		Deps:    d,
		pools:   store.NewTable[poolRecord](d.Store, "storage-pools"),
		volumes: store.NewTable[volumeRecord](d.Store, "storage-volumes"),
		open:    map[string]storagedriver.Driver{},
		opening: map[string]*opening{},
		mounts:  map[VolumeID]int{},

		patience: mountPatience,
		attached: map[string]attachment{},
	}
	s.life, s.end = context.WithCancel(context.Background())
	d.Journal.Handle(kindPoolCreate, s.recoverPoolCreate)
	d.Journal.Handle(kindPoolDelete, s.recoverPoolDelete)
	d.Journal.Handle(kindVolumeCreate, s.recoverVolumeCreate)
	d.Journal.Handle(kindVolumeDelete, s.recoverVolumeDelete)
	d.Journal.Handle(kindVolumeRename, s.recoverVolumeRename)
	return s
}

func (s *Service) poolsFolder() string { return filepath.Join(s.Root, "storage-pools") }

func (s *Service) newDriver(pool string, r *poolRecord) (storagedriver.Driver, error) {
	open, ok := s.Drivers[r.Driver]
	if !ok {
		return nil, s.errUnknownDriver(r.Driver)
	}
	return open(storagedriver.Config{Root: filepath.Join(s.poolsFolder(), pool), Options: r.Config}), nil
}

// errUnknownDriver begins with LXD's text and says what there is.
func (s *Service) errUnknownDriver(name string) error {
	names := slices.Sorted(maps.Keys(s.Drivers))
	return api.BadRequest("Unknown driver: %q is not one of %s", name, strings.Join(names, ", "))
}

func errNoPool() error { return api.NotFound("Storage pool not found") }

func errNoVolume() error { return api.NotFound("Storage pool volume not found") }

// keyed is a set of locks by name, each with any number of readers or one writer.
type keyed struct {
	mu    sync.Mutex
	locks map[string]*keyedLock
}

type keyedLock struct {
	users   int
	readers int
	writer  bool
	changed chan struct{} // closed, and made anew, at each release
}

// lock waits for the lock of a name and returns its release.
func (k *keyed) lock(ctx context.Context, name string, write bool) (release func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.locks == nil {
		k.locks = map[string]*keyedLock{}
	}
	l := k.locks[name]
	if l == nil {
		l = &keyedLock{changed: make(chan struct{})}
		k.locks[name] = l
	}
	l.users++
	for l.writer || write && l.readers > 0 {
		changed := l.changed
		k.mu.Unlock()
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-changed:
		}
		k.mu.Lock()
		if err != nil {
			k.leave(name, l)
			return nil, fmt.Errorf("wait for %s: %w", name, err)
		}
	}
	if write {
		l.writer = true
	} else {
		l.readers++
	}
	return sync.OnceFunc(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if write {
			l.writer = false
		} else {
			l.readers--
		}
		close(l.changed)
		l.changed = make(chan struct{})
		k.leave(name, l)
	}), nil
}

func (k *keyed) leave(name string, l *keyedLock) {
	if l.users--; l.users == 0 {
		delete(k.locks, name)
	}
}
