// Package spec is what an instance compiles to: everything a runtime must know to run it, and nothing about
// where that came from. It holds plain data only, so that a Spec can be compared, printed and tested.
package spec

import "time"

// Spec is one instance, ready to be started by a runtime.
type Spec struct {
	ID      string // unique on the host and safe as a file name: "web", or "project_web" outside the default project
	UUID    string // the instance's identity, which stands on what is made for it; empty: it has none
	Name    string // host name inside
	Arch    string // "x86_64", "i686", …; empty for the host's
	Project string

	RootFS  RootFS
	IDMap   []IDMapEntry // empty: privileged
	Mounts  []Mount
	NICs    []NIC
	Devices []DeviceRule
	Cgroup  Cgroup

	Environment map[string]string
	Sysctls     map[string]string // linux.sysctl.*
	Rlimits     map[string]string // limits.kernel.*: name -> "soft:hard", "unlimited" allowed

	Nesting         bool
	Seccomp         string // profile in liblxc's syntax; empty: none
	RawAppArmor     string // raw.apparmor, rules put last
	DropCaps        []string
	RawLXC          string // raw.lxc, lines of liblxc configuration put last
	ShutdownTimeout time.Duration
}

// Confinement is what a profile of a security module depends on; it is a part of Spec that can change while the instance runs.
type Confinement struct {
	Privileged, Nesting bool
	RawAppArmor         string
}

// Confinement is that part of s.
func (s *Spec) Confinement() Confinement {
	return Confinement{Privileged: len(s.IDMap) == 0, Nesting: s.Nesting, RawAppArmor: s.RawAppArmor}
}

// RootFS is the instance's root file system.
type RootFS struct {
	Path string // folder on the host
	// Idmapped asks for the file system to be seen through the ID map, its files being owned by unshifted IDs on
	// disk. False: the files on disk are owned by host IDs already.
	Idmapped bool
	ReadOnly bool
	Options  []string // further mount options
}

// IDMapEntry maps Count IDs from NSID inside to HostID outside.
type IDMapEntry struct {
	UID, GID bool // which kinds of ID the entry is for; both is usual
	NSID     int64
	HostID   int64
	Count    int64
}

// Mount is one file system or bind mount inside the instance.
type Mount struct {
	Source  string // host path, or what the file system wants
	Target  string // path inside, without the leading slash, already checked to have no ".."
	Type    string // "none" for a bind
	Options []string
	// Create makes the target where it is missing: "dir", "file" or "".
	Create string
	// Idmapped asks for a bind mount to be seen through the instance's ID map (shift=true).
	Idmapped bool
	// Optional lets the start go on when the source is missing.
	Optional bool
}

// NIC is one network interface that exists on the host under HostName and is moved into the instance.
type NIC struct {
	Device   string // name of the device in the configuration
	HostName string // interface on the host to be moved
	Name     string // name inside
	HWAddr   string
	MTU      int
}

// DeviceRule allows or denies a device node: "c 10:200 rwm".
type DeviceRule struct {
	Allow bool
	Rule  string
}

// Cgroup holds limits by name of the controller, in units of the kernel. Nil or empty: no limit.
type Cgroup struct {
	MemoryLimit     *int64 // bytes
	MemorySoft      *int64 // bytes
	SwapLimit       *int64 // bytes of memory and swap together; cgroup v1 alone has such a limit
	NoSwap          bool   // its memory never goes to swap
	Swappiness      *int64 // cgroup v1 alone
	Pids            *int64
	CPUSet          string // "0-1,3"
	CPUShares       *int64 // cgroup v1 (1024 is usual)
	CPUWeight       *int64 // cgroup v2 (100 is usual)
	CPUQuota        *Quota
	BlkioWeight     *int64 // 10 to 1000, 500 is usual: cgroup v1; the runtime converts for v2
	NetworkPriority *int64
}

// Quota is CPU time a period.
type Quota struct {
	Quota, Period time.Duration
}
