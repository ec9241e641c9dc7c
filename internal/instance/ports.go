// Package instance holds the use-cases and rules of instances: what may be created from what, what a change does,
// and the order in which storage, network and runtime are asked to carry it out.
package instance

import (
	"context"
	"encoding/json"
	"io"
	"os"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/runtime"
	"github.com/berthd/berth/internal/spec"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

// Volumes is what instances need of storage pools; *storage.Service implements it.
//
// An instance's volume is a folder with rootfs/, metadata.yaml and templates/. Whatever is made with a UUID carries it. Volume records live in the store,
// and the methods that return ops leave it to the caller to commit them together with the instance.
type Volumes interface {
	// CheckPool tells whether a pool exists and is usable (api.NotFound, api.BadRequest).
	CheckPool(pool string) error
	// Answers fails if a pool hangs (api.Unavailable), and does not hang itself. What fails at once is no such failure.
	Answers(ctx context.Context, pool string) error
	// CreateFromImage makes the volume from an image: fill unpacks the image into an empty folder and is called only
	// if the pool has no prepared copy of that name yet. On error nothing is left.
	CreateFromImage(ctx context.Context, vol storage.VolumeID, prepared string, fill func(ctx context.Context, dir string) error) error
	// CreateEmpty makes a volume with an empty rootfs/.
	CreateEmpty(ctx context.Context, vol storage.VolumeID) error
	// Copy makes dst with the content of src: instance or snapshot to instance or snapshot, in one pool or two.
	Copy(ctx context.Context, dst, src storage.VolumeID) error
	// Snapshot makes a snapshot volume of its instance's volume.
	Snapshot(ctx context.Context, snap storage.VolumeID) error
	// Exchange has two volumes of one pool change places, in one step.
	Exchange(ctx context.Context, a, b storage.VolumeID) error
	// Rename renames a volume and all its snapshots, or one snapshot. Idempotent: done already is no error. RenameBack undoes
	// it, as far as it was done to the volume of that identity.
	Rename(ctx context.Context, old, new storage.VolumeID) error
	RenameBack(ctx context.Context, old, new storage.VolumeID) error
	// Undo removes what carries the identities given, and nothing else.
	Undo(ctx context.Context, vols ...storage.VolumeID) error
	// Delete removes volumes and snapshots, in the order given. A missing one is no error; one with another identity is
	// left alone.
	Delete(ctx context.Context, vols ...storage.VolumeID) error
	// Exists tells whether a volume or a snapshot of that name is there; it fails where the pool cannot be reached (api.Unavailable), as do all that
	// come before their first effect.
	Exists(ctx context.Context, vol storage.VolumeID) (bool, error)
	// Path is the volume's folder on the host. It is valid between Mount and its release.
	Path(vol storage.VolumeID) string
	// Mount makes the volume reachable at Path; calls nest, each with its own release.
	Mount(ctx context.Context, vol storage.VolumeID) (release func() error, err error)
	// SetQuota limits a volume, in bytes; 0 is no limit. Pools without quotas ignore it.
	SetQuota(ctx context.Context, vol storage.VolumeID, bytes int64) error
	// Usage is what a volume takes, in bytes; -1 where the pool cannot tell cheaply.
	Usage(ctx context.Context, vol storage.VolumeID) (int64, error)
	// Record and Forget are the ops that make a volume known to, and unknown in, the pool's list of volumes. What like is
	// known by (configuration, description) becomes vol's; the zero VolumeID gives it none.
	Record(vol, like storage.VolumeID) store.Op
	Forget(vol storage.VolumeID) store.Op
}

// Images is what instances need of images; *image.Service implements it.
type Images interface {
	// Resolve finds the image a source names: by alias, fingerprint (or its unique prefix), or properties.
	Resolve(ctx context.Context, project string, src api.InstanceSource) (*api.Image, error)
	// Prepared is what pools call their copy of an image: there may be several images with one fingerprint.
	Prepared(project, fingerprint string) (string, error)
	// Unpack writes metadata.yaml, templates/ and rootfs/ of the image of which prepared is the copy's name into an empty folder, as far as there is room.
	Unpack(ctx context.Context, project, fingerprint, prepared, dir string, room *diskspace.Room, progress func(percent int, bytesPerSecond int64)) error
	// Used are the ops that note that an image is used now; none if it has gone.
	Used(project, fingerprint string) []store.Op
}

// What a Runtime speaks in lives apart, so that drivers need not import this package.
type (
	// Process is a running instance as the runtime knows it.
	Process = runtime.Process
	// ExecRequest is a command to run in an instance.
	ExecRequest = runtime.ExecRequest
	// Command is a process started by Exec.
	Command = runtime.Command
)

// RawChecker is a Runtime that can tell whether raw.lxc is configuration it understands (api.BadRequest).
type RawChecker interface {
	CheckRaw(ctx context.Context, raw string) error
}

// Prewarmer is a Runtime that has something to do before a process is put into an instance, and can do so while the
// caller prepares its start.
type Prewarmer interface {
	Prewarm()
}

// Runtime runs instances; internal/driver/lxc implements it. It knows instances by spec ID alone, keeps no state that
// a restart of the daemon would lose, and is safe for concurrent use on different instances.
type Runtime interface {
	// Start runs the instance and returns once its init runs.
	Start(ctx context.Context, s *spec.Spec) (Process, error)
	// Find returns the running instances, by ID: what a daemon that has just started picks up again. One that runs but
	// cannot be taken over has an Err, as has what bears the identity of another instance than the owner of its ID; that is
	// left alone. One that has just ended to restart from inside is there too. Find may be called again. When Find fails
	// altogether any instance may run.
	Find(ctx context.Context, owner runtime.Owner) (map[string]Process, error)
	// Watch calls exited once when the instance has gone entirely (its monitor too); after a restart of the daemon it
	// is called again for each instance that Find returned.
	Watch(id string, exited func())
	// Shutdown asks init to end; Kill ends everything inside at once. Both return when the instance has gone or ctx ends.
	Shutdown(ctx context.Context, id string) error
	Kill(ctx context.Context, id string) error
	Freeze(ctx context.Context, id string) error
	Thaw(ctx context.Context, id string) error
	// Status is the cheap part of the state: Stopped, Running or Frozen; or StatusError of what Find could not take over.
	Status(id string) api.StatusCode
	// Root and NetworkNamespace open what a running instance's first process sees: its root folder, as a handle for paths beneath,
	// and its network. They fail with api.BadRequest when it has just gone; what they opened is certainly its own.
	Root(id string) (*os.File, error)
	NetworkNamespace(id string) (*os.File, error)
	// NetworkNamespaces shows all of a running instance (see device.Running).
	NetworkNamespaces(ctx context.Context, id string, look func(ns *os.File) error) error
	// State reads the live figures of a running instance; disk is filled by the caller.
	State(ctx context.Context, id string, hostNames map[string]string) (*api.InstanceState, error)
	Exec(ctx context.Context, id string, r ExecRequest) (Command, error)
	// Console connects to the instance's console; it is a terminal.
	Console(ctx context.Context, id string) (io.ReadWriteCloser, error)
	// Limits brings the limits of a running instance from before to after, and leaves alone what is the same in both. LookLimits says, as JSON,
	// what that replaces; RestoreLimits brings it back. CPUs sets its CPUs alone ("0-1,3").
	Limits(ctx context.Context, id string, before, after spec.Cgroup) error
	LookLimits(id string, before, after spec.Cgroup) (json.RawMessage, error)
	RestoreLimits(ctx context.Context, id string, seen json.RawMessage) error
	CPUs(ctx context.Context, id, set string) error
	// Cleanup removes what a stopped or half-started instance of that UUID left on the host: cgroups, config, processes. What
	// runs under its ID and bears another identity is left alone, and an error. Idempotent.
	Cleanup(ctx context.Context, id, uuid string) error
	// Mount, Unmount, Mounted and AllowDevice act on a running instance (see device.Running).
	Mount(ctx context.Context, id string, m spec.Mount) error
	Unmount(ctx context.Context, id string, m spec.Mount, others []string) error
	Mounted(ctx context.Context, id string, m spec.Mount, others []string) (bool, error)
	// Resolve is where paths beneath the root of a running instance lead, its links followed as far as there is anything of them.
	Resolve(ctx context.Context, id string, targets []string) ([]string, error)
	AllowDevice(ctx context.Context, id string, r spec.DeviceRule) error
	// Log is the path of the runtime's log of an instance.
	Log(id string) string
}
