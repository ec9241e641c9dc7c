// Package device is the contract between instances and the modules that know one type of device each (disk,
// nic, none, …). A module knows neither HTTP nor the database of instances; adding a type touches no other package.
//
// # Life of a device
//
// Validate is called for every device of the effective configuration whenever it changes, on the final
// object. Start is called when the instance starts: it prepares the host's side (creates a veth pair, checks a
// source path) and says what the device adds to the instance's Spec. Stop is called after the instance has stopped,
// after a Start that failed half way, and at recovery; it must be idempotent and must not need what Start returned
// beyond the volatile keys. A module that can act on a running instance also implements HotPlugger or Updater.
//
// # A change of a running instance
//
// For a moment a changed device exists twice: the new one is started beside the old one, in the other slot, so that what
// can fail fails while nothing is gone. Then the old one is unplugged, so that it can be plugged in again, and the new one is
// plugged in; the record is written; at last the old one is stopped. Until the record is written the change can be undone:
// the new one is unplugged and stopped, the old one replugged. An undo may begin at any point and be repeated, after a
// kill by the next daemon, so Unplug, Stop and Replug must cope with whatever they find.
package device

import (
	"context"
	"encoding/json"
	"os"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/spec"
)

// Config is a device's keys, "type" among them.
type Config map[string]string

// Instance is what a module may know of the instance a device belongs to.
type Instance struct {
	Project string
	Name    string
	ID      string // as in spec.Spec
	// UUID is the instance's identity, which no other has and nobody can set; empty where it is older than identities.
	UUID string
	Type string // container or virtual-machine
	// Privileged tells that the instance has no ID map.
	Privileged bool
	IDMap      []spec.IDMapEntry
	// Config is the effective configuration.
	Config map[string]string
	// Devices is the effective set of devices.
	Devices map[string]Config
	// DevicesPath is a folder on the host for what modules put there: <root>/devices/<id>.
	DevicesPath string
	// Profile is set when a profile's devices are validated without an instance.
	Profile bool
	// Slot, 0 or 1, tells apart two devices of one name that are there at once, while a running instance changes from one to
	// the other. What a module has on the host is named by instance, device and slot.
	Slot int
}

// Contribution is what a device adds to the Spec of a starting instance.
type Contribution struct {
	Mounts  []spec.Mount
	NICs    []spec.NIC
	Devices []spec.DeviceRule
	// Volatile are keys to be kept with the instance, without their "volatile.<device>." prefix: "host_name".
	// An empty value removes the key.
	Volatile map[string]string
}

// Module knows one type of device.
type Module interface {
	// Validate checks a device of this type. Errors are api.BadRequest and name the key and the allowed values.
	Validate(ctx context.Context, inst Instance, name string, cfg Config) error
	// Start prepares the host's side. volatile are the device's volatile keys, without their prefix.
	Start(ctx context.Context, inst Instance, name string, cfg Config, volatile map[string]string) (Contribution, error)
	// Stop undoes the host's side and returns the volatile keys to change (empty value: remove).
	Stop(ctx context.Context, inst Instance, name string, cfg Config, volatile map[string]string) (map[string]string, error)
}

// Running is how a module reaches a running instance.
type Running interface {
	// NetworkNamespace is the instance's own; the caller closes it.
	NetworkNamespace() (*os.File, error)
	// NetworkNamespaces has look called for each network namespace of the instance, its own first, while its processes stand still: those that the
	// guest has made, too, wherever it keeps them. The file is closed after the call; an error of look ends it. A bound in time and number is met,
	// or what cannot be seen through, with an Unseen, after all that could be seen was shown.
	NetworkNamespaces(ctx context.Context, look func(ns *os.File) error) error
	// Mount makes a bind mount appear inside, or fails and has made none.
	Mount(ctx context.Context, m spec.Mount) error
	// Unmount takes away what Mount, or the start, made of m; only its source and its target count. It is found by its source, wherever
	// the guest's links lead by now and wherever it has moved it. others are the targets of mounts of the same source that stay. What
	// cannot be got at is an error; that there is none is not.
	Unmount(ctx context.Context, m spec.Mount, others []string) error
	// Mounted tells whether there is something for Unmount to take away.
	Mounted(ctx context.Context, m spec.Mount, others []string) (bool, error)
	// AllowDevice changes the device rules.
	AllowDevice(ctx context.Context, r spec.DeviceRule) error
}

// Unseen is an error of NetworkNamespaces after which there may be more of them.
type Unseen struct{ Err error }

// Error implements error.
func (u *Unseen) Error() string {
	return "not all network namespaces of the instance could be seen: " + u.Err.Error()
}

// Unwrap gives what kept them from being seen.
func (u *Unseen) Unwrap() error { return u.Err }

// HotPlugger is a module whose devices can come and go while the instance runs.
type HotPlugger interface {
	// Plug makes what Start prepared, and returned as c, appear inside. After an error some of it may be there, unless that is a
	// NotPlugged.
	Plug(ctx context.Context, run Running, inst Instance, name string, cfg Config, c Contribution) error
	// Look says, as JSON, what Replug will have to bring back of a device that is inside. It changes nothing.
	Look(ctx context.Context, run Running, inst Instance, name string, cfg Config, volatile map[string]string) (json.RawMessage, error)
	// Unplug takes the device away from inside and keeps of the host's side what Replug cannot make anew; the rest is for Stop. That it is not
	// inside is no error.
	Unplug(ctx context.Context, run Running, inst Instance, name string, cfg Config, volatile map[string]string) error
	// Replug undoes Unplug, by what Look saw before. That the device is inside still, or in part, is no error.
	Replug(ctx context.Context, run Running, inst Instance, name string, cfg Config, volatile map[string]string, seen json.RawMessage) error
}

// NotPlugged is an error of Plug after which nothing is inside. To look whether there is would be to wait, for what may never answer.
type NotPlugged struct{ Err error }

// Error implements error.
func (n *NotPlugged) Error() string { return n.Err.Error() }

// Unwrap gives what went wrong.
func (n *NotPlugged) Unwrap() error { return n.Err }

// Placer is a module whose devices can cover each other inside. Place is the path, beneath the root, at which a device appears; empty for one that
// does not. When a device comes or goes, those beneath its path are unplugged before and plugged in again after it.
type Placer interface {
	Place(cfg Config) string
}

// Updater is a module that can change some keys of a running device in place. LiveKeys names them; a change of
// any other key is an unplug and a plug. An Update is undone by one the other way, also when it failed half way.
type Updater interface {
	LiveKeys() []string
	Update(ctx context.Context, run Running, inst Instance, name string, old, new Config, volatile map[string]string) error
}

// Checker is a module that looks at the host before a device is added to an instance or changed: at what may be gone
// later without making the device wrong, such as the source of a disk. Start checks it again.
type Checker interface {
	Check(ctx context.Context, inst Instance, name string, cfg Config) error
}

// Answerer is a module whose devices may be on a disk or a server of the host that hangs. It is asked before anything is locked for a device that is
// about to be added or changed, and fails with api.Unavailable if that does not answer in time; of all else it says nothing.
type Answerer interface {
	Answers(ctx context.Context, inst Instance, cfg Config) error
}

// Describer is a module that tells which keys its devices have: a table for each kind of the type, by the kind's name. A type without
// kinds has one table, by the name "".
type Describer interface {
	Tables() map[string]*config.Table
}

// Refuser is a module some of whose keys have no effect on this server. It refuses those that a device has not had before; was is
// nil for a new device, and project the one that it is to be in. Errors are api.BadRequest and name key and reason.
type Refuser interface {
	CheckSupported(project string, was, cfg Config) error
}

// Restricted is a module whose devices there may be in restricted projects, as far as the project's key restricted.devices.<type> goes. Of a
// module without it, there are none unless that key allows all. A key that its tables do not call free needs that, too.
type Restricted interface {
	// Needs is what that key has to allow for a device of this configuration, its single keys aside; none where it is free.
	Needs(cfg Config) []Need
}

// Need is something of a device that is not free in a restricted project.
type Need struct {
	Level   string // the least value of restricted.devices.<type> that allows it
	Network string // the network that it names, if it does
	Path    string // the path on the host that it names, if it does
	// Anywhere is for what there is only where paths of the host may be any.
	Anywhere bool
	Why      string // what is said where it is not allowed: "Only managed network devices are allowed"
}

// Adder is a module that prepares something as soon as a device belongs to an instance, running or not: a DHCP
// reservation. Add is called after a change of the instance's devices is kept, for each device that is new or
// changed, with the device's volatile keys. It is idempotent, and what it does is done again by Start if it failed.
type Adder interface {
	Add(ctx context.Context, inst Instance, name string, cfg Config, volatile map[string]string) error
}

// Remover is a module that keeps something for a device beyond a stop (a DHCP reservation) and drops it when the
// device or its instance is deleted.
type Remover interface {
	Remove(ctx context.Context, inst Instance, name string, cfg Config, volatile map[string]string) error
}

// Defaulter is a module that fills volatile keys when the device is added to an instance: a NIC's "hwaddr".
type Defaulter interface {
	Defaults(inst Instance, name string, cfg Config, volatile map[string]string) (map[string]string, error)
}

// Adopter is a module that holds something in memory for a device of a running instance, and takes it up again when
// the daemon has been restarted.
type Adopter interface {
	Adopt(ctx context.Context, inst Instance, name string, cfg Config, volatile map[string]string) error
}
