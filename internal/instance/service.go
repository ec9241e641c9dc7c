package instance

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/bounded"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/expiry"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/kmod"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

// Deps is what the service stands on.
type Deps struct {
	Root     string // the daemon's folder
	Store    *store.Store
	Journal  *journal.Journal
	Locks    *lock.Manager // nil: one of its own
	Volumes  Volumes
	Images   Images
	Profiles Profiles
	Projects Projects // nil: there is the default one alone
	Runtime  Runtime
	Events   event.Publisher
	// Modules are the device modules by type: "disk", "nic", "none", …
	Modules map[string]device.Module
	Host    Host
	// LoadModule loads a kernel module of the host; nil: kmod.Load.
	LoadModule func(ctx context.Context, name string) error
	Log        *slog.Logger
}

// Projects is what instances need of projects; *project.Service implements it.
type Projects interface {
	// Effective is the project in which a project's objects of a kind are, and Sharing is the other way round.
	Effective(kind project.Kind, name string) string
	Sharing(kind project.Kind, name string) []string
	// Admit asks whether a project may have what is about to be; the answer stays right until the release.
	Admit(ctx context.Context, action, name string, change project.Contents) (release func(), err error)
	// Allows tells whether a project, if it is restricted, allows what is needed (api.Forbidden).
	Allows(name string, needs ...project.Need) error
	// Permits is Allows before what is needed is checked any further; action is as in Admit.
	Permits(action, name string, needs func() ([]project.Need, error)) error
	// Hold keeps a project, and what it shares, until the release (api.NotFound).
	Hold(ctx context.Context, action, name string) (context.Context, func(), error)
}

// Service is the use-cases of instances.
type Service struct {
	Deps
	instances   *store.Table[Instance]
	snapshots   *store.Table[Snapshot]
	idClaims    *store.Table[idClaim]
	promised    []idmap.Range // blocks given to others in the same change, which the store does not have yet
	runs        runs
	copyFreezes copyFreezes
	adopted     atomic.Bool // what ran at the start is known
	pruner      *expiry.Pruner
	visits      visits
	// rawChecked holds, as rawText, what the runtime understands.
	rawChecked sync.Map
	// imageSizes is what images take in pools, in bytes (int64), by pool and name of the prepared copy. It only saves the counting.
	imageSizes sync.Map

	// background is ended by Close; what goes on after a request (autostart, exits) runs under it.
	background context.Context
	end        context.CancelFunc
	tasks      sync.WaitGroup
	live       bounded.Calls // reads of live states, by instance
	usage      bounded.Calls // reads of what their volumes take, by instance
}

// New makes the service and registers its journal handlers. Call it before the store is loaded.
func New(d Deps) *Service {
	if d.Log == nil {
		d.Log = slog.Default()
	}
	if d.Events == nil {
		d.Events = event.Nobody{}
	}
	if d.Projects == nil {
		d.Projects = project.Single{}
	}
	if d.LoadModule == nil {
		d.LoadModule = kmod.Load
	}
	if d.Locks == nil {
		d.Locks = &lock.Manager{}
	}
	s := &Service{
		Deps:      d,
		instances: store.NewTable[Instance](d.Store, "instances"),
		snapshots: store.NewTable[Snapshot](d.Store, "instance-snapshots"),
		idClaims:  store.NewTable[idClaim](d.Store, "id-claims"),
		pruner:    expiry.New(),
	}
	s.runs.table = store.NewTable[live](d.Store, "instance-runs")
	s.background, s.end = context.WithCancel(context.Background())
	s.handleJournal()
	return s
}

// Close ends what runs in the background and waits for it. Instances go on.
func (s *Service) Close() {
	s.end()
	s.tasks.Wait()
}

// errNotFound is what clients see for an instance that does not exist.
func errNotFound() error { return api.NotFound("Instance not found") }

// get returns the row of an instance.
func (s *Service) get(project, name string) (store.Row[Instance], error) {
	row, ok := s.instances.Get(project, name)
	if !ok {
		return row, errNotFound()
	}
	return row, nil
}

func (s *Service) getSnapshot(project, name, snapshot string) (store.Row[Snapshot], error) {
	row, ok := s.snapshots.Get(project, name, snapshot)
	if !ok {
		return row, api.NotFound("Failed to fetch snapshot %q of instance %q in project %q: InstanceSnapshot not found",
			snapshot, name, project)
	}
	return row, nil
}

// modify changes an instance's record under a guard and tries again when someone else wrote it meanwhile.
// change gets a clone; the extra ops are committed with it.
func (s *Service) modify(ctx context.Context, project, name string, change func(*Instance) error, with ...store.Op) error {
	for {
		row, err := s.get(project, name)
		if err != nil {
			return err
		}
		next := row.Value.clone()
		if err := change(next); err != nil {
			return err
		}
		_, err = s.Store.Commit(ctx, append([]store.Op{s.instances.Replace(row, next)}, with...)...)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// volume is the ID of an instance's root volume.
func (i *Instance) volume() storage.VolumeID {
	return storage.VolumeID{Pool: i.Pool, Project: i.Project, Type: storage.VolumeContainer, Name: i.Name, UUID: i.UUID}
}

// snapshotVolume names the volume of a snapshot, whichever carries that name.
func (i *Instance) snapshotVolume(snapshot string) storage.VolumeID {
	v := i.volume()
	v.Snapshot, v.UUID = snapshot, ""
	return v
}

// snapshotOf is the volume of a snapshot with its identity. That follows from the instance and the instant at which the
// snapshot was made, which it keeps under whatever name: of fifty thousand, none needs to be kept.
func (i *Instance) snapshotOf(snapshot string, record *Snapshot) storage.VolumeID {
	v := i.snapshotVolume(snapshot)
	if space, err := uuid.Parse(i.UUID); err == nil {
		v.UUID = uuid.NewSHA1(space, []byte(record.CreatedAt.UTC().Format(time.RFC3339Nano))).String()
	}
	return v
}

// volumesOf lists an instance's volume and those of its snapshots, with their identities.
func (s *Service) volumesOf(i *Instance) []storage.VolumeID {
	all := []storage.VolumeID{i.volume()}
	for _, row := range s.snapshots.List(i.Project, i.Name) {
		all = append(all, i.snapshotOf(row.Path[2], row.Value))
	}
	return all
}

func url(of, name string) string { return project.URL(of, "instances", name) }

func snapshotURL(of, name, snapshot string) string {
	return project.URL(of, "instances", name, "snapshots", snapshot)
}

func (s *Service) publish(ctx context.Context, project, action, source string, details map[string]any) {
	s.Events.Lifecycle(ctx, project, action, source, details)
}

// resources names instances the way operations do: containers under both their names. The operation says in which project they are; their
// URLs do not, as what stands behind the last slash is what clients take for the name of a new instance.
func resources(paths ...string) map[string][]string {
	r := map[string][]string{}
	for _, p := range paths {
		r["instances"] = append(r["instances"], "/1.0/instances/"+p)
		r["containers"] = append(r["containers"], "/1.0/containers/"+p)
	}
	return r
}

// detached is ctx without its end, for undoing and finishing what must not stay half-done; it has a bound of its own.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
}

func defaultProject(p string) string {
	if p == "" {
		return api.ProjectDefault
	}
	return p
}
