package api

import "time"

// InstanceType tells containers from virtual machines.
type InstanceType string

// Instance types.
const (
	InstanceTypeContainer InstanceType = "container"
	InstanceTypeVM        InstanceType = "virtual-machine"
)

// InstancePut is the part of an instance that PUT and PATCH change.
type InstancePut struct {
	Architecture string                       `json:"architecture" yaml:"architecture"`
	Config       map[string]string            `json:"config" yaml:"config"`
	Devices      map[string]map[string]string `json:"devices" yaml:"devices"`
	Ephemeral    bool                         `json:"ephemeral" yaml:"ephemeral"`
	Profiles     []string                     `json:"profiles" yaml:"profiles"`
	Restore      string                       `json:"restore,omitempty" yaml:"restore,omitempty"` // snapshot to go back to
	Stateful     bool                         `json:"stateful" yaml:"stateful"`
	Description  string                       `json:"description" yaml:"description"`
}

// InstancesPost asks for a new instance.
type InstancesPost struct {
	InstancePut  `yaml:",inline"`
	Name         string         `json:"name" yaml:"name"` // empty: the server makes one up
	Source       InstanceSource `json:"source" yaml:"source"`
	InstanceType string         `json:"instance_type" yaml:"instance_type"` // a size such as "c2-m4", "t2.micro"
	Type         InstanceType   `json:"type" yaml:"type"`
}

// InstanceSource says what a new instance is made from.
type InstanceSource struct {
	Type        string            `json:"type" yaml:"type"` // image, copy, migration or none
	Certificate string            `json:"certificate" yaml:"certificate"`
	Alias       string            `json:"alias,omitempty" yaml:"alias,omitempty"`
	Fingerprint string            `json:"fingerprint,omitempty" yaml:"fingerprint,omitempty"`
	Properties  map[string]string `json:"properties,omitempty" yaml:"properties,omitempty"`
	Server      string            `json:"server,omitempty" yaml:"server,omitempty"`
	Secret      string            `json:"secret,omitempty" yaml:"secret,omitempty"`
	Protocol    string            `json:"protocol,omitempty" yaml:"protocol,omitempty"`

	BaseImage         string            `json:"base-image,omitempty" yaml:"base-image,omitempty"`
	Mode              string            `json:"mode,omitempty" yaml:"mode,omitempty"`
	Operation         string            `json:"operation,omitempty" yaml:"operation,omitempty"`
	Websockets        map[string]string `json:"secrets,omitempty" yaml:"secrets,omitempty"`
	Source            string            `json:"source,omitempty" yaml:"source,omitempty"` // instance, or instance/snapshot
	Live              bool              `json:"live,omitempty" yaml:"live,omitempty"`
	InstanceOnly      bool              `json:"instance_only,omitempty" yaml:"instance_only,omitempty"`
	ContainerOnly     bool              `json:"container_only,omitempty" yaml:"container_only,omitempty"`
	Refresh           bool              `json:"refresh,omitempty" yaml:"refresh,omitempty"`
	Project           string            `json:"project,omitempty" yaml:"project,omitempty"`
	AllowInconsistent bool              `json:"allow_inconsistent" yaml:"allow_inconsistent"`
}

// InstancePost renames, moves or migrates an instance.
type InstancePost struct {
	Name              string              `json:"name" yaml:"name"`
	Migration         bool                `json:"migration" yaml:"migration"`
	Live              bool                `json:"live" yaml:"live"`
	InstanceOnly      bool                `json:"instance_only" yaml:"instance_only"`
	ContainerOnly     bool                `json:"container_only" yaml:"container_only"`
	Target            *InstancePostTarget `json:"target" yaml:"target"`
	Pool              string              `json:"pool" yaml:"pool"`
	Project           string              `json:"project" yaml:"project"`
	AllowInconsistent bool                `json:"allow_inconsistent" yaml:"allow_inconsistent"`
}

// InstancePostTarget is where a push migration goes.
type InstancePostTarget struct {
	Certificate string            `json:"certificate" yaml:"certificate"`
	Operation   string            `json:"operation,omitempty" yaml:"operation,omitempty"`
	Websockets  map[string]string `json:"secrets,omitempty" yaml:"secrets,omitempty"`
}

// Instance is what GET /1.0/instances/<name> shows.
type Instance struct {
	InstancePut     `yaml:",inline"`
	CreatedAt       time.Time                    `json:"created_at" yaml:"created_at"`
	ExpandedConfig  map[string]string            `json:"expanded_config,omitempty" yaml:"expanded_config,omitempty"`
	ExpandedDevices map[string]map[string]string `json:"expanded_devices,omitempty" yaml:"expanded_devices,omitempty"`
	Name            string                       `json:"name" yaml:"name"`
	Status          string                       `json:"status" yaml:"status"`
	StatusCode      StatusCode                   `json:"status_code" yaml:"status_code"`
	LastUsedAt      time.Time                    `json:"last_used_at" yaml:"last_used_at"`
	Location        string                       `json:"location" yaml:"location"`
	Type            string                       `json:"type" yaml:"type"`
	Project         string                       `json:"project" yaml:"project"`
}

// InstanceFull is an instance with its state, snapshots and backups (recursion=2).
type InstanceFull struct {
	Instance  `yaml:",inline"`
	Backups   []InstanceBackup   `json:"backups" yaml:"backups"`
	State     *InstanceState     `json:"state" yaml:"state"`
	Snapshots []InstanceSnapshot `json:"snapshots" yaml:"snapshots"`
}

// InstanceBackup is a backup of an instance.
type InstanceBackup struct {
	Name             string    `json:"name" yaml:"name"`
	CreatedAt        time.Time `json:"created_at" yaml:"created_at"`
	ExpiresAt        time.Time `json:"expires_at" yaml:"expires_at"`
	InstanceOnly     bool      `json:"instance_only" yaml:"instance_only"`
	ContainerOnly    bool      `json:"container_only" yaml:"container_only"`
	OptimizedStorage bool      `json:"optimized_storage" yaml:"optimized_storage"`
}

// InstanceSnapshotsPost asks for a new snapshot.
type InstanceSnapshotsPost struct {
	Name      string     `json:"name" yaml:"name"`
	Stateful  bool       `json:"stateful" yaml:"stateful"`
	ExpiresAt *time.Time `json:"expires_at" yaml:"expires_at"`
}

// InstanceSnapshotPost renames or migrates a snapshot.
type InstanceSnapshotPost struct {
	Name      string              `json:"name" yaml:"name"`
	Migration bool                `json:"migration" yaml:"migration"`
	Target    *InstancePostTarget `json:"target" yaml:"target"`
	Live      bool                `json:"live,omitempty" yaml:"live,omitempty"`
}

// InstanceSnapshotPut is the part of a snapshot that PUT and PATCH change.
type InstanceSnapshotPut struct {
	ExpiresAt time.Time `json:"expires_at" yaml:"expires_at"`
}

// InstanceSnapshot is what GET /1.0/instances/<name>/snapshots/<snapshot> shows.
type InstanceSnapshot struct {
	InstanceSnapshotPut `yaml:",inline"`
	Architecture        string                       `json:"architecture" yaml:"architecture"`
	Config              map[string]string            `json:"config" yaml:"config"`
	CreatedAt           time.Time                    `json:"created_at" yaml:"created_at"`
	Devices             map[string]map[string]string `json:"devices" yaml:"devices"`
	Ephemeral           bool                         `json:"ephemeral" yaml:"ephemeral"`
	ExpandedConfig      map[string]string            `json:"expanded_config,omitempty" yaml:"expanded_config,omitempty"`
	ExpandedDevices     map[string]map[string]string `json:"expanded_devices,omitempty" yaml:"expanded_devices,omitempty"`
	LastUsedAt          time.Time                    `json:"last_used_at" yaml:"last_used_at"`
	Name                string                       `json:"name" yaml:"name"` // the snapshot's own name on the wire
	Profiles            []string                     `json:"profiles" yaml:"profiles"`
	Stateful            bool                         `json:"stateful" yaml:"stateful"`
	Size                int64                        `json:"size" yaml:"size"` // bytes; -1 unknown
}

// InstanceStatePut changes the power state.
type InstanceStatePut struct {
	Action   string `json:"action" yaml:"action"`   // start, stop, restart, freeze, unfreeze
	Timeout  int    `json:"timeout" yaml:"timeout"` // seconds; -1 no bound
	Force    bool   `json:"force" yaml:"force"`
	Stateful bool   `json:"stateful" yaml:"stateful"`
}

// InstancesPut changes the power state of every instance of a project.
type InstancesPut struct {
	State *InstanceStatePut `json:"state" yaml:"state"`
}

// InstanceState is the live state of an instance.
type InstanceState struct {
	Status     string                          `json:"status" yaml:"status"`
	StatusCode StatusCode                      `json:"status_code" yaml:"status_code"`
	Disk       map[string]InstanceStateDisk    `json:"disk" yaml:"disk"`
	Memory     InstanceStateMemory             `json:"memory" yaml:"memory"`
	Network    map[string]InstanceStateNetwork `json:"network" yaml:"network"`
	Pid        int64                           `json:"pid" yaml:"pid"`
	Processes  int64                           `json:"processes" yaml:"processes"` // -1 unknown
	CPU        InstanceStateCPU                `json:"cpu" yaml:"cpu"`
}

// InstanceStateDisk is the use of one disk device, in bytes.
type InstanceStateDisk struct {
	Usage int64 `json:"usage" yaml:"usage"`
}

// InstanceStateCPU is CPU time used, in nanoseconds.
type InstanceStateCPU struct {
	Usage int64 `json:"usage" yaml:"usage"`
}

// InstanceStateMemory is the use of memory, in bytes.
type InstanceStateMemory struct {
	Usage         int64 `json:"usage" yaml:"usage"`
	UsagePeak     int64 `json:"usage_peak" yaml:"usage_peak"`
	SwapUsage     int64 `json:"swap_usage" yaml:"swap_usage"`
	SwapUsagePeak int64 `json:"swap_usage_peak" yaml:"swap_usage_peak"`
}

// InstanceStateNetwork is one network interface as the instance sees it.
type InstanceStateNetwork struct {
	Addresses []InstanceStateNetworkAddress `json:"addresses" yaml:"addresses"`
	Counters  NetworkCounters               `json:"counters" yaml:"counters"`
	Hwaddr    string                        `json:"hwaddr" yaml:"hwaddr"`
	HostName  string                        `json:"host_name" yaml:"host_name"` // the host's end of a veth pair
	Mtu       int                           `json:"mtu" yaml:"mtu"`
	State     string                        `json:"state" yaml:"state"` // up or down
	Type      string                        `json:"type" yaml:"type"`   // broadcast, loopback, point-to-point, …
}

// InstanceStateNetworkAddress is one address of an interface.
type InstanceStateNetworkAddress struct {
	Family  string `json:"family" yaml:"family"` // inet or inet6
	Address string `json:"address" yaml:"address"`
	Netmask string `json:"netmask" yaml:"netmask"` // prefix length
	Scope   string `json:"scope" yaml:"scope"`     // local, link or global
}

// InstanceExecPost runs a command.
type InstanceExecPost struct {
	Command      []string          `json:"command" yaml:"command"`
	WaitForWS    bool              `json:"wait-for-websocket" yaml:"wait-for-websocket"`
	Interactive  bool              `json:"interactive" yaml:"interactive"`
	Environment  map[string]string `json:"environment" yaml:"environment"`
	Width        int               `json:"width" yaml:"width"`
	Height       int               `json:"height" yaml:"height"`
	RecordOutput bool              `json:"record-output" yaml:"record-output"`
	User         uint32            `json:"user" yaml:"user"`
	Group        uint32            `json:"group" yaml:"group"`
	Cwd          string            `json:"cwd" yaml:"cwd"`
}

// InstanceExecControl is a message on the control socket of an exec operation.
type InstanceExecControl struct {
	Command string            `json:"command" yaml:"command"` // window-resize or signal
	Args    map[string]string `json:"args" yaml:"args"`       // width, height
	Signal  int               `json:"signal" yaml:"signal"`
}

// InstanceConsolePost attaches to the console.
type InstanceConsolePost struct {
	Width  int    `json:"width" yaml:"width"`
	Height int    `json:"height" yaml:"height"`
	Type   string `json:"type" yaml:"type"` // console or vga
}
