package instance

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
)

// Body is what an instance and its snapshots have in common: everything a user configures.
type Body struct {
	Type         api.InstanceType         `json:"type"`
	Architecture string                   `json:"architecture"`
	Config       map[string]string        `json:"config"` // own keys and volatile ones, without profiles
	Devices      map[string]device.Config `json:"devices"`
	Profiles     []string                 `json:"profiles"`
	Ephemeral    bool                     `json:"ephemeral,omitempty"`
	Stateful     bool                     `json:"stateful,omitempty"`
	Description  string                   `json:"description,omitempty"`
	CreatedAt    time.Time                `json:"created_at"`
	LastUsedAt   time.Time                `json:"last_used_at"`
	// Shifting is set while the owners of the files change to or from volatile.last_state.idmap: some have it, some
	// have not.
	Shifting bool `json:"shifting,omitempty"`
}

// Instance is an instance as the store keeps it, at /instances/<project>/<name>.
type Instance struct {
	Body
	Project string `json:"project"`
	Name    string `json:"name"`
	// UUID is the instance's identity, which no other ever has. It stands on what is made for it; empty in records of
	// versions that knew none.
	UUID string `json:"uuid,omitempty"`
	// Pool is where the root volume is. It is kept here, beside the root device, so that a profile that goes
	// wrong can never make an instance lose its volume.
	Pool string `json:"pool"`
	// Creating is set until the volume is whole; the journal has an entry for it.
	Creating bool `json:"creating,omitempty"`
	// Stopping is set while a stop is under way.
	Stopping Stopping `json:"stopping,omitempty"`

	view *atomic.Pointer[view] // see viewOf; nil in a record that is not the table's own
}

func (b Body) clone() Body {
	b.Config = maps.Clone(b.Config)
	if b.Config == nil {
		b.Config = map[string]string{}
	}
	b.Devices = cloneDevices(b.Devices)
	b.Profiles = slices.Clone(b.Profiles)
	return b
}

func (i *Instance) clone() *Instance {
	c := *i
	c.Body, c.view = i.Body.clone(), nil
	return &c
}

func cloneDevices(devices map[string]device.Config) map[string]device.Config {
	c := make(map[string]device.Config, len(devices))
	for name, d := range devices {
		c[name] = maps.Clone(d)
	}
	return c
}

// toDevices and fromDevices convert between the wire's maps and ours.
func toDevices(wire map[string]map[string]string) map[string]device.Config {
	c := make(map[string]device.Config, len(wire))
	for name, d := range wire {
		c[name] = maps.Clone(d)
		maps.DeleteFunc(c[name], func(_, value string) bool { return value == "" }) // unset
		if c[name] == nil {
			c[name] = device.Config{}
		}
	}
	return c
}

func fromDevices(devices map[string]device.Config) map[string]map[string]string {
	c := make(map[string]map[string]string, len(devices))
	for name, d := range devices {
		c[name] = maps.Clone(d)
	}
	return c
}

// never is the last_used_at of an instance that never ran.
var never = time.Unix(0, 0).UTC()

// id is the name of an instance on the host: plain in the default project, with the project before it elsewhere.
func id(project, name string) string {
	if project == api.ProjectDefault || project == "" {
		return name
	}
	return project + "_" + name
}

func (i *Instance) id() string { return id(i.Project, i.Name) }

// identity tells an instance from all others, whatever their names: its UUID, or of records that have none its ID.
func (i *Instance) identity() string { return first(i.UUID, i.id()) }

// ofID takes an ID apart: no name of an instance has an underscore.
func ofID(id string) (project, name string) {
	if at := strings.LastIndexByte(id, '_'); at >= 0 {
		return id[:at], id[at+1:]
	}
	return api.ProjectDefault, id
}
