package storage

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/bounded"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/expiry"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// Open makes the driver of one pool.
type Open func(c storagedriver.Config) storagedriver.Driver

// Deps is what the service stands on.
type Deps struct {
	Store   *store.Store
	Journal *journal.Journal
	Locks   *lock.Manager // nil: one of its own
	Events  event.Publisher
	// Root is the daemon's folder; pools appear below <Root>/storage-pools.
	Root string
	// Drivers are the drivers there are, by the name the API knows them by.
	Drivers map[string]Open
	// Projects tells in which project a project's custom volumes are; nil: there is the default one alone.
	Projects Projects
	// UsersOfPool lists the URLs of what names a pool beyond its volumes: profiles. May be nil.
	UsersOfPool func(pool string) []string
	// UsersOfVolume lists the URLs of what a custom volume is attached to: instances and profiles. May be nil.
	UsersOfVolume func(vol VolumeID) []string
	// VolumeRuns tells whether an instance that runs has a custom volume. May be nil.
	VolumeRuns func(vol VolumeID) bool
}

// Service keeps pools and volumes. Its methods are safe for concurrent use.
type Service struct {
	Deps
	pools   *store.Table[poolRecord]
	volumes *store.Table[volumeRecord]

	// life ends with the service, and with it the mounting of pools.
	life     context.Context
	end      context.CancelFunc
	patience time.Duration // see mountPatience
	probes   bounded.Calls // what asks the kernel of a pool, by its name
	answers  bounded.Calls // as probes, for changes, which hang where questions do not

	answerTime time.Duration // see the constant

	mu      sync.Mutex                      // never held over a driver's work
	open    map[string]storagedriver.Driver // pools that are mounted
	opening map[string]*opening             // pools that are being mounted
	mounts  map[VolumeID]int
	// pruner deletes snapshots that expire; tasks are what runs in the background until life ends.
	pruner *expiry.Pruner
	tasks  sync.WaitGroup
	// attached are the custom volumes that devices hold, by the word that names the device.
	attached map[string]attachment
}

type poolRecord struct {
	// UUID tells a pool from a later one of its name; empty of those that an earlier version has made.
	UUID        string            `json:"uuid,omitempty"`
	Driver      string            `json:"driver"`
	Description string            `json:"description"`
	Config      map[string]string `json:"config"`
}

// New makes the service and its journal handlers. Start makes the pools usable.
func New(d Deps) *Service {
	if d.Locks == nil {
		d.Locks = &lock.Manager{}
	}
	if d.Projects == nil {
		d.Projects = project.Single{}
	}
	s := &Service{
		Deps:    d,
		pools:   store.NewTable[poolRecord](d.Store, "storage-pools"),
		volumes: store.NewTable[volumeRecord](d.Store, "storage-volumes"),
		open:    map[string]storagedriver.Driver{},
		opening: map[string]*opening{},
		mounts:  map[VolumeID]int{},

		patience: mountPatience, answerTime: answerTime,
		pruner:   expiry.New(),
		attached: map[string]attachment{},
	}
	s.life, s.end = context.WithCancel(context.Background())
	d.Journal.Handle(kindPoolCreate, s.recoverPoolCreate)
	d.Journal.Handle(kindPoolDelete, s.recoverPoolDelete)
	d.Journal.Handle(kindVolumeCreate, s.recoverVolumeCreate)
	d.Journal.Handle(kindVolumeDelete, s.recoverVolumeDelete)
	d.Journal.Handle(kindVolumeRename, s.recoverVolumeRename)
	s.guardJournal()
	return s
}

func (s *Service) poolsFolder() string { return filepath.Join(s.Root, "storage-pools") }

func (s *Service) newDriver(pool string, r *poolRecord) (storagedriver.Driver, error) {
	open, ok := s.Drivers[r.Driver]
	if !ok {
		return nil, s.errUnknownDriver(r.Driver)
	}
	return open(storagedriver.Config{Root: filepath.Join(s.poolsFolder(), pool), UUID: r.identity(pool), Options: r.Config}), nil
}

// identity is a pool's UUID. One that an earlier version has made has one of its name, by which an earlier state of the store knows it, too.
func (r *poolRecord) identity(pool string) string {
	if r.UUID != "" {
		return r.UUID
	}
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(poolURL(pool))).String()
}

// errUnknownDriver begins with LXD's text and says what there is.
func (s *Service) errUnknownDriver(name string) error {
	names := slices.Sorted(maps.Keys(s.Drivers))
	return api.BadRequest("Unknown driver: %q is not one of %s", name, strings.Join(names, ", "))
}

func errNoPool() error { return api.NotFound("Storage pool not found") }

func errNoVolume() error { return api.NotFound("Storage pool volume not found") }
