// Package storagedriver is the contract between storage pools and the drivers that keep them.
//
// # Terms
//
// A pool is a place that holds volumes; it appears on the host as one folder (Config.Root, by custom
// <root>/storage-pools/<pool>). A volume is a folder tree of one kind: an instance, an image prepared for instances to
// be made from, or a custom volume. A snapshot is the state that a volume had, kept under a name of its own; it
// belongs to its volume and goes with it. A driver keeps pools of one technology: dir, btrfs, and so on.
//
// A driver knows neither the database nor HTTP, nor what is in a volume. Names it gets are checked already: they
// are single path elements without white space, and neither "." nor "..". It holds no state that a restart would lose.
//
// # Life of a pool
//
//	Create ─→ Mount ─→ (volumes come and go) ─→ Unmount ─→ Delete
//
// Create makes the pool where nothing is: it must fail, and touch nothing, if the place is taken. Repair lays anew what is missing of a
// pool that Create has made, as after a Delete that failed half way, and touches nothing that is there. Mount makes it
// reachable at Root, at every start of the daemon again; it also removes what a daemon that was killed left
// unfinished in the pool. Unmount undoes Mount, Delete removes all that Create made (and nothing more: a folder that the
// user gave as source stays, empty). Config.UUID says which pool a place is: Create leaves it there, and
// Mount where there is none; of a place that another pool has marked Mount fails with ErrOther, and Delete leaves all that is in it. Repair, Mount, Unmount and Delete are idempotent, and Delete after a
// Create that was cut off leaves nothing. Of a pool whose place is not there, or takes no changes, Unmount and Delete remove what is at
// Root all the same; Delete then fails with ErrAway.
//
// # Life of a volume
//
//	Create ─→ Snapshot, Restore, Copy, Rename … ─→ Delete
//
// Whatever makes a volume makes it out of sight, under a name that starts with Unfinished (or another mark of the
// driver's), and puts it in its place in one step. So a volume that can be seen at its path is whole, and a
// kill at any instant leaves only marked remains, which Mount removes. Restore replaces the volume in one step too.
// Delete takes the volume out of sight first.
//
// Delete, Rename and Mount may be repeated: a Delete of what does not exist and a Rename that has been done are no
// errors.
//
// # Identity
//
// A name says where a volume is, not whose. Whatever is made with a UUID carries it from the instant at which it can be seen, and
// keeps it when it is renamed or restored; a copy is a volume of its own. A Delete with a UUID removes what carries that
// UUID and nothing else: ErrForeign says that another's stands in its place, ErrUnmarked that what is there says nothing (an
// earlier version's volume, or one that was put there by hand). So whoever undoes what it made cannot remove what was there before.
// Delete of a pool likewise removes what the driver keeps for itself and folders that are empty, and fails if there is more.
// Create, Copy and Snapshot fail with ErrExists if their target exists. All methods honour the end of their
// context and then leave what a kill would leave, or less.
//
// # Concurrency
//
// Calls for different volumes run side by side. Calls that change one volume are kept apart by the caller.
// A volume that is copied or snapshotted may be in use and change meanwhile.
//
// # Options
//
// What only some drivers can do is a small interface of its own (QuotaSetter, UsageReporter, …), which the caller asks for.
//
// # Tests
//
// Package drivertest holds all of the above as tests; the test of a driver is a call to drivertest.Run.
package storagedriver

import (
	"context"
	"errors"
)

// Errors that callers tell apart. Drivers wrap them with the name of what they are about.
var (
	ErrExists   = errors.New("already exists")
	ErrNotFound = errors.New("not found")
	ErrForeign  = errors.New("is another volume of that name")
	ErrUnmarked = errors.New("is a volume of unknown origin")
	ErrNotEmpty = errors.New("holds what no volume accounts for")
	ErrAway     = errors.New("cannot be reached or changed")
	ErrOther    = errors.New("is another storage pool's")
)

// Unfinished begins the names of what is not, or no longer, a volume. As it has a space in it, no name of a user's is one.
const Unfinished = ".tmp "

// Kind is what a volume holds. Its text names the volume's folder in LXD's layout.
type Kind string

// Kinds of volumes.
const (
	Containers      Kind = "containers"
	VirtualMachines Kind = "virtual-machines"
	Custom          Kind = "custom"
	Images          Kind = "images" // never has snapshots
)

// Kinds lists all kinds.
func Kinds() []Kind { return []Kind{Containers, VirtualMachines, Custom, Images} }

// Volume names one volume of a pool, or one snapshot of it.
type Volume struct {
	Kind     Kind
	Name     string // as on disk: "web", or "project_web"
	Snapshot string
	// UUID is the identity of the volume or snapshot; empty where it has none, or none is asked for.
	UUID string
}

// Of is the volume that a snapshot belongs to.
func (v Volume) Of() Volume { return Volume{Kind: v.Kind, Name: v.Name} }

// String is for errors: "containers/web" or "containers/web/snap0".
func (v Volume) String() string {
	s := string(v.Kind) + "/" + v.Name
	if v.Snapshot != "" {
		s += "/" + v.Snapshot
	}
	return s
}

// Config is what a driver is told about a pool.
type Config struct {
	// Root is the folder at which the pool is reachable while it is mounted. Its parent exists.
	Root string
	// UUID is the identity of the pool; empty where none is to be left or asked for.
	UUID string
	// Options is the pool's configuration.
	Options map[string]string
}

// Fill writes the first content of a volume into dir, an empty folder that is open to root only.
type Fill func(ctx context.Context, dir string) error

// Pool is the life of the pool itself.
type Pool interface {
	Create(ctx context.Context) error
	Repair(ctx context.Context) error
	Delete(ctx context.Context) error
	Mount(ctx context.Context) error
	Unmount(ctx context.Context) error
}

// Volumes is the life of volumes.
type Volumes interface {
	// CreateVolume makes a volume with what fill writes; a nil fill makes an empty one.
	CreateVolume(ctx context.Context, v Volume, fill Fill) error
	// CopyVolume makes dst, a volume, with the content of src, a volume or snapshot of the same pool, in the cheapest way.
	CopyVolume(ctx context.Context, dst, src Volume) error
	// RenameVolume renames a volume with its snapshots, or one snapshot.
	RenameVolume(ctx context.Context, from, to Volume) error
	// ClaimVolume gives a volume or snapshot that is ErrUnmarked its UUID, for one that is known to be what is meant.
	ClaimVolume(ctx context.Context, v Volume) error
	// ExchangeVolumes has two volumes change places, in one step, with all that stands on them; their snapshots stay.
	ExchangeVolumes(ctx context.Context, a, b Volume) error
	// DeleteVolume removes a volume, or one snapshot. Snapshots of a volume that has gone are there until they are deleted.
	DeleteVolume(ctx context.Context, v Volume) error
}

// Snapshots is the life of snapshots.
type Snapshots interface {
	// CreateSnapshot makes the snapshot of its volume.
	CreateSnapshot(ctx context.Context, snap Volume) error
	// CopySnapshot makes the snapshot dst, whose volume exists, with the content of src.
	CopySnapshot(ctx context.Context, dst, src Volume) error
	// RestoreSnapshot gives the volume the content of its snapshot.
	RestoreSnapshot(ctx context.Context, snap Volume) error
}

// Access is how volumes are reached.
type Access interface {
	// Path is the volume's folder; it is there between MountVolume and UnmountVolume.
	Path(v Volume) string
	// MountVolume makes the volume reachable. Calls do not nest: the caller counts.
	MountVolume(ctx context.Context, v Volume) error
	UnmountVolume(ctx context.Context, v Volume) error
	// Exists tells whether the volume is there, whole.
	Exists(v Volume) (bool, error)
}

// Driver keeps one pool.
type Driver interface {
	Pool
	Volumes
	Snapshots
	Access
}

// Checker is a driver that can tell, without touching anything, why Create would fail.
type Checker interface {
	Check() error
}

// Presence is a driver that can tell whether a pool is still what Mount has mounted: somebody may unmount it, or mount something over it.
// It waits for no disk.
type Presence interface {
	Present() bool
}

// Answerer is a driver that can ask the disk or the server of a pool whether it takes changes. The question waits for as long as that takes.
type Answerer interface {
	Answers() error
}

// QuotaSetter is a driver that can bound what a volume takes.
type QuotaSetter interface {
	// SetQuota bounds a volume to a number of bytes; 0 is no bound. errors.ErrUnsupported says that the pool keeps no quotas, or none
	// for this volume. Copies, and what a restore puts in a volume's place, have no bound yet.
	SetQuota(ctx context.Context, v Volume, bytes int64) error
}

// UsageReporter is a driver that knows cheaply what a volume takes, in bytes.
type UsageReporter interface {
	Usage(ctx context.Context, v Volume) (int64, error)
}
