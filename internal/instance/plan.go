package instance

import (
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/spec"
)

// Host is what Plan has to know of the machine.
type Host struct {
	IDs         idmap.Host
	CPUs        []int  // online
	MemoryTotal int64  // bytes
	Arch        string // "x86_64"
	// Unshifted tells whether a pool's root volumes can be seen through an ID map while their files stay owned by
	// plain IDs; nil: all of them.
	Unshifted func(pool string) bool
	// UnprivilegedOnly refuses new privileged instances, and changes that would make an instance privileged. Existing ones stay usable.
	UnprivilegedOnly bool
}

// PlanInput is an instance with all that its start has found out.
type PlanInput struct {
	Instance      *Instance
	Config        map[string]string // effective
	RootPath      string            // the rootfs folder on the host
	RootReadOnly  bool
	Idmapped      bool // see spec.RootFS
	IDMap         []spec.IDMapEntry
	Contributions []device.Contribution // in the order of the devices
	CPUs          string                // the CPUs it was given; "" for all
	Host          Host
}

// Plan compiles an instance. It is pure: the same input gives the same Spec.
func Plan(in PlanInput) (*spec.Spec, error) {
	c := in.Config
	limits, err := cgroup(c, in.CPUs, in.Host.MemoryTotal)
	if err != nil {
		return nil, err
	}
	s := &spec.Spec{
		ID:      in.Instance.id(),
		UUID:    in.Instance.UUID,
		Name:    in.Instance.Name,
		Arch:    in.Instance.Architecture,
		Project: in.Instance.Project,
		RootFS: spec.RootFS{
			Path:     in.RootPath,
			Idmapped: in.Idmapped && len(in.IDMap) > 0,
			ReadOnly: in.RootReadOnly,
		},
		IDMap:           in.IDMap,
		Cgroup:          limits,
		Environment:     family(c, "environment."),
		Sysctls:         family(c, "linux.sysctl."),
		Rlimits:         rlimits(c),
		Nesting:         config.IsTrue(c["security.nesting"]),
		Seccomp:         seccomp(c),
		RawLXC:          c["raw.lxc"],
		RawAppArmor:     c["raw.apparmor"],
		ShutdownTimeout: time.Duration(Keys.GetInt(c, "boot.host_shutdown_timeout")) * time.Second,
	}
	for _, contribution := range in.Contributions {
		s.Mounts = append(s.Mounts, contribution.Mounts...)
		s.NICs = append(s.NICs, contribution.NICs...)
		s.Devices = append(s.Devices, contribution.Devices...)
	}
	sort.SliceStable(s.Mounts, func(a, b int) bool { return s.Mounts[a].Target < s.Mounts[b].Target })
	return s, nil
}

// family collects the keys that start with prefix, without it.
func family(c map[string]string, prefix string) map[string]string {
	found := map[string]string{}
	for key, v := range c {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			found[name] = v
		}
	}
	return found
}

func rlimits(c map[string]string) map[string]string {
	limits := family(c, "limits.kernel.")
	for name, v := range limits {
		if !strings.Contains(v, ":") {
			limits[name] = v + ":" + v
		}
	}
	return limits
}

// denied are system calls that no container needs and that could harm the host: they load code into the kernel, or open
// files by handle, past every check of paths.
var denied = []string{"kexec_load", "open_by_handle_at", "init_module", "finit_module", "delete_module"}

// deniedPrivileged are the calls of the newer mount interface. Up to Linux 6.7 AppArmor does not mediate them, and no security
// module is asked about mount_setattr to this day: with them, the root of a privileged container could undo the restrictions of its
// profile. Programs fall back to mount(2) where they are missing.
var deniedPrivileged = []string{"fsopen", "fspick", "fsconfig", "fsmount", "move_mount", "open_tree", "mount_setattr"}

// seccomp writes the profile in liblxc's syntax; empty means none.
func seccomp(c map[string]string) string {
	if raw := c["raw.seccomp"]; raw != "" {
		return raw
	}
	if allow := c["security.syscalls.allow"]; allow != "" {
		return "2\nallowlist\n[all]\n" + strings.TrimSpace(allow) + "\n"
	}
	byDefault := Keys.GetBool(c, "security.syscalls.deny_default")
	deny := c["security.syscalls.deny"]
	if !byDefault && deny == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString("2\ndenylist\n")
	if byDefault {
		b.WriteString("[all]\nreject_force_umount\n[all]\n")
		names := denied
		if config.IsTrue(c["security.privileged"]) {
			names = append(slices.Clone(denied), deniedPrivileged...)
		}
		for _, name := range names {
			b.WriteString(name + " errno 38\n") // ENOSYS
		}
	}
	if deny != "" {
		b.WriteString("[all]\n" + strings.TrimSpace(deny) + "\n")
	}
	return b.String()
}
