package instance

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/expiry"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/kmod"
)

// Keys are the configuration keys of instances and profiles. A key stands here only if it does something, or is
// plain data that guests and clients read.
var Keys = config.NewTable(config.InstanceWords, slices.Concat(
	miscKeys, bootKeys, limitKeys, rawKeys, securityKeys, snapshotKeys, volatileKeys)...)

const (
	container     = "container"
	lowlevel      = "restricted.containers.lowlevel"
	interception  = "restricted.containers.interception"
	devlxdDefault = "true"
)

var miscKeys = []config.Key{
	{Name: "cluster.evacuate", Type: config.String, Default: "auto", Restricted: config.Free,
		Unsupported: "it is no member of a cluster, so nothing is ever evacuated",
		Values:      []string{"auto", "migrate", "live-migrate", "stop"}, Doc: "What happens to the instance when its cluster member is evacuated"},
	{Name: "environment.*", Type: config.String, Live: true, Restricted: config.Free, Validate: config.OneLine, Doc: "Variable in the environment of init and of commands of exec"},
	{Name: "linux.kernel_modules", Type: config.String, Live: true, Restricted: lowlevel, Condition: container,
		Validate: kernelModules, Allowed: "names with commas between them", Doc: "Kernel modules that the host loads before the start, with commas between them"},
	{Name: "linux.sysctl.*", Type: config.String, Restricted: lowlevel, Condition: container, Validate: config.OneLine, Doc: "Value of the kernel setting of that name inside"},
	{Name: "user.*", Type: config.String, Live: true, Restricted: config.Free, Doc: "Free for users: lists can filter by it, and cloud-init reads some"},
	{Name: "image.*", Type: config.String, Live: true, Restricted: config.Free, Doc: "Property that the image had when the instance was made from it"},
	{Name: "cloud-init.user-data", Type: config.String, Restricted: config.Free, Doc: "What cloud-init inside gets for user-data"},
	{Name: "cloud-init.vendor-data", Type: config.String, Restricted: config.Free, Doc: "What cloud-init inside gets for vendor-data"},
	{Name: "cloud-init.network-config", Type: config.String, Restricted: config.Free, Validate: yamlMapping, Doc: "What cloud-init inside gets for network-config, as YAML"},
}

var bootKeys = []config.Key{
	{Name: "boot.autostart", Type: config.Bool, Live: true, Restricted: config.Free, Doc: "Start the instance with the daemon; unset: if it ran before"},
	{Name: "boot.autostart.delay", Type: config.Integer, Default: "0", Live: true, Restricted: config.Free, Doc: "Seconds between this start and the next instance's"},
	{Name: "boot.autostart.priority", Type: config.Integer, Default: "0", Live: true, Restricted: config.Free, Doc: "Order of the starts, highest first"},
	{Name: "boot.host_shutdown_timeout", Type: config.Integer, Default: "30", Live: true, Restricted: lowlevel, Doc: "Seconds to wait for a clean stop before the instance is killed"},
	{Name: "boot.stop.priority", Type: config.Integer, Default: "0", Live: true, Restricted: config.Free, Doc: "Order of the stops, highest first"},
}

var limitKeys = []config.Key{
	{Name: "limits.cpu", Type: config.String, Live: true, Restricted: config.Free, Validate: cpuLimit, Allowed: "a number, or a set or range such as 0,2-3", Doc: "Number, set or range of CPUs"},
	{Name: "limits.cpu.allowance", Type: config.String, Default: "100%", Live: true, Restricted: config.Free, Condition: container, Validate: cpuAllowance, Allowed: "a share such as 50%, or a time such as 25ms/100ms", Doc: "Share of CPU time: soft (50%) or hard (25ms/100ms)"},
	{Name: "limits.cpu.priority", Type: config.Integer, Default: "10", Live: true, Restricted: config.Free, Condition: container, Validate: config.IsPriority, Allowed: "0 to 10", Doc: "Weight among instances with the same share (0 to 10)"},
	{Name: "limits.disk.priority", Type: config.Integer, Default: "5", Live: true, Restricted: config.Free, Validate: config.IsPriority, Allowed: "0 to 10", Doc: "Weight of the instance's disk I/O (0 to 10)"},
	{Name: "limits.kernel.*", Type: config.String, Restricted: config.Free, Condition: container, Validate: rlimit, Allowed: "a number or unlimited, or both as soft:hard", Doc: "Kernel resource limit, soft:hard"},
	{Name: "limits.memory", Type: config.String, Live: true, Restricted: config.Free, Validate: config.IsMemory, Allowed: "bytes, a size such as 64MiB, or a share such as 10%", Doc: "Bound of the memory: bytes, with a unit, or a share of the host's such as 10%"},
	{Name: "limits.memory.enforce", Type: config.String, Default: "hard", Live: true, Restricted: config.Free, Condition: container, Values: []string{"soft", "hard"}, Doc: "Whether limits.memory holds always (hard) or only when the host runs short (soft)"},
	{Name: "limits.memory.swap", Type: config.Bool, Default: "true", Live: true, Restricted: config.Free, Condition: container, Doc: "Whether the instance's memory may be swapped out"},
	{Name: "limits.memory.swap.priority", Type: config.Integer, Default: "10", Live: true, Restricted: config.Free, Condition: container, Validate: config.IsPriority, Allowed: "0 to 10", Doc: "The higher, the less likely to be swapped out (0 to 10)"},
	{Name: "limits.network.priority", Type: config.Integer, Default: "0", Live: true, Restricted: config.Free, Validate: config.IsPriority, Allowed: "0 to 10", Doc: "Weight of the instance's network traffic (0 to 10)",
		Unsupported: "it has no way to order the traffic of instances; limits.ingress and limits.egress of their NICs bound it"},
	{Name: "limits.processes", Type: config.Integer, Live: true, Restricted: config.Free, Condition: container, Doc: "How many processes may run inside at once"},
}

var rawKeys = []config.Key{
	{Name: "raw.apparmor", Type: config.String, Live: true, Restricted: lowlevel, Doc: "AppArmor rules, put last in the generated profile"},
	{Name: "raw.lxc", Type: config.String, Restricted: lowlevel, Condition: container, Validate: rawLXC, Doc: "liblxc configuration, put last"},
	{Name: "raw.idmap", Type: config.String, Restricted: lowlevel, Condition: container, Validate: rawIDMap, Allowed: "lines such as: both 1000 1000", Doc: "Further ID mappings, such as: both 1000 1000"},
	{Name: "raw.seccomp", Type: config.String, Restricted: lowlevel, Condition: container, Doc: "Whole seccomp profile, in the place of the generated one"},
}

var securityKeys = []config.Key{
	{Name: "security.devlxd", Type: config.Bool, Default: devlxdDefault, Restricted: config.Free, Doc: "Presence of /dev/lxd inside",
		Unsupported: "it makes no /dev/lxd inside instances, as with false", Except: config.IsFalse},
	{Name: "security.idmap.base", Type: config.Integer, Restricted: lowlevel, Condition: container, Validate: config.IsUint32, Allowed: "0 to 4294967295", Doc: "First host ID of the map"},
	{Name: "security.idmap.isolated", Type: config.Bool, Default: "false", Restricted: config.Free, Condition: container, Doc: "Map that no other isolated instance has"},
	{Name: "security.idmap.size", Type: config.Integer, Restricted: lowlevel, Condition: container, Validate: config.IsUint32, Allowed: "0 to 4294967295", Doc: "Number of IDs in the map"},
	{Name: "security.nesting", Type: config.Bool, Default: "false", Live: true, Restricted: "restricted.containers.nesting", Condition: container, Doc: "Support for containers inside"},
	{Name: "security.privileged", Type: config.Bool, Default: "false", Restricted: "restricted.containers.privilege", Condition: container, Doc: "Run without an ID map"},
	{Name: "security.protection.delete", Type: config.Bool, Default: "false", Live: true, Restricted: config.Free, Doc: "Refuse to delete the instance"},
	{Name: "security.protection.shift", Type: config.Bool, Default: "false", Live: true, Restricted: config.Free, Condition: container, Doc: "Refuse to change the owners of the instance's files"},
	{Name: "security.syscalls.allow", Type: config.String, Restricted: lowlevel, Condition: container, Doc: "Lines of system calls to allow; all others are denied"},
	{Name: "security.syscalls.deny", Type: config.String, Restricted: config.Free, Condition: container, Doc: "Lines of system calls to deny"},
	{Name: "security.syscalls.deny_default", Type: config.Bool, Default: "true", Restricted: lowlevel, Condition: container, Doc: "Deny the usual dangerous system calls"},
}

var snapshotKeys = []config.Key{
	{Name: "snapshots.expiry", Type: config.String, Live: true, Restricted: config.Free, Validate: isExpiry, Allowed: "ages such as 1M 2H 3d 4w 5m 6y", Doc: "Age at which snapshots are deleted, such as: 1d 2w"},
	{Name: "snapshots.pattern", Type: config.String, Default: "snap%d", Live: true, Restricted: config.Free, Doc: "Pattern of the names of snapshots"},
}

var volatileKeys = []config.Key{
	{Name: "volatile.apply_template", Type: config.String, Doc: "Template trigger of the next start"},
	{Name: "volatile.base_image", Type: config.String, Doc: "Fingerprint of the image"},
	{Name: "volatile.cloud-init.instance-id", Type: config.String, Validate: isUUID, Doc: "Instance ID as cloud-init sees it"},
	{Name: "volatile.idmap.base", Type: config.String, Doc: "First ID of the map"},
	{Name: "volatile.idmap.current", Type: config.String, Doc: "ID map in use"},
	{Name: "volatile.idmap.next", Type: config.String, Doc: "ID map of the next start"},
	{Name: "volatile.last_state.idmap", Type: config.String, Doc: "ID map the files on disk are shifted to"},
	{Name: "volatile.last_state.power", Type: config.String, Doc: "Power state when the daemon last looked"},
	{Name: "volatile.uuid", Type: config.String, Validate: isUUID, Doc: "Unique ID of the instance"},
	{Name: "volatile.*.apply_quota", Type: config.String, Doc: "Quota to apply at the next start"},
	{Name: "volatile.*.host_name", Type: config.String, Doc: "What the NIC is called on the host"},
	{Name: "volatile.*.hwaddr", Type: config.String, Doc: "Generated MAC address"},
	{Name: "volatile.*.name", Type: config.String, Doc: "What the NIC is called inside"},
	{Name: "volatile.*.last_state.created", Type: config.String, Doc: "Whether the network device was created by the daemon"},
	{Name: "volatile.*.last_state.mtu", Type: config.String, Doc: "MTU to go back to"},
	{Name: "volatile.*.last_state.hwaddr", Type: config.String, Doc: "MAC address to go back to"},
}

func isUUID(v string) error {
	if _, err := uuid.Parse(v); err != nil {
		return fmt.Errorf("Invalid UUID")
	}
	return nil
}

func isExpiry(v string) error {
	_, err := expiry.Parse(v)
	return err
}

func yamlMapping(v string) error {
	var m map[string]any
	return yaml.Unmarshal([]byte(v), &m)
}

func kernelModules(v string) error {
	_, err := kmod.Parse(v)
	return err
}

var cpuLimitValue = regexp.MustCompile(`^[0-9]+((,[0-9]+)|(-[0-9]+))*$`)

func cpuLimit(v string) error {
	if !cpuLimitValue.MatchString(v) {
		return fmt.Errorf("Invalid CPU limit syntax")
	}
	_, err := parseCPUs(v)
	return err
}

func cpuAllowance(v string) error {
	_, _, err := parseAllowance(v)
	return err
}

// rawLXC refuses lines that are none, and keys that would take the instance out of the daemon's hands.
func rawLXC(v string) error {
	for _, line := range strings.Split(v, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, _, ok := strings.Cut(line, "=")
		if !ok {
			return fmt.Errorf("Invalid raw.lxc line: %s", line)
		}
		key = strings.ToLower(strings.TrimSpace(key))
		switch {
		case key == "lxc.ephemeral", key == "lxc.logfile", key == "lxc.log.file", key == "lxc.syslog", key == "lxc.log.syslog":
			return fmt.Errorf("Setting %s is not allowed", key)
		case strings.HasPrefix(key, "lxc.network."), strings.HasPrefix(key, "lxc.net.") && !interfaceAddress.MatchString(key):
			return fmt.Errorf("Only interface-specific ipv4/ipv6 lxc.net. keys are allowed")
		}
	}
	return nil
}

var interfaceAddress = regexp.MustCompile(`^lxc\.net\.[0-9]+\.ipv[46]($|\.)`)

func rawIDMap(v string) error {
	_, err := idmap.ParseRaw(v)
	return err
}
