package keys_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/instance"
	"github.com/berthd/berth/test/harness"
)

// Keys are set in a profile of the instance that they are named for, so that it is the effective configuration that counts: see
// TestEveryKeyOfInstances. Those of images and volatile ones are an instance's own.
var instanceEntries = slices.Concat(instanceKeys, limitKeys, securityKeys, volatileKeys, bootKeys)

// template shows what templates see of the keys that are data for the inside.
const template = `{{ config_get("cloud-init.user-data","") }}|{{ config_get("cloud-init.vendor-data","") }}|{{ config_get("cloud-init.network-config","") }}`

var instanceKeys = []entry{
	{key: "cluster.evacuate", set: "stop", refused: true},
	{key: "environment.*", on: "a", set: "environment.KEYS=walked", sh: `tr '\0' '\n' </proc/$PID/environ; run sh -c 'echo exec: $KEYS'`, want: `(^|\n)KEYS=walked\n.*exec: walked`},
	{key: "linux.kernel_modules", on: "broken", set: "no_such_module", sh: `$BERTH start broken; $BERTH info broken --show-log | tail -3`, want: "Failed to load kernel module 'no_such_module'"},
	{key: "linux.sysctl.*", on: "a", set: "linux.sysctl.net.ipv4.ip_forward=1", sh: `inside cat /proc/sys/net/ipv4/ip_forward`, want: `^1\n`},
	{key: "user.*", on: "a", set: "user.keys=walked", sh: `$BERTH list user.keys=walked --format csv -c n`, want: `^a\n$`},
	{key: "image.*", on: "a", sh: `$BERTH config get a image.os; $BERTH profile set a image.os=x`, want: `(?i)^busybox\n.*only be set on instances`},
	{key: "cloud-init.user-data", on: "a", set: "#cloud-config", sh: `inside cat /template`, want: `^#cloud-config\|`},
	{key: "cloud-init.vendor-data", on: "a", set: "#vendor", sh: `inside cat /template`, want: `\|#vendor\|`},
	{key: "cloud-init.network-config", on: "a", set: "version: 1", sh: `inside cat /template`, want: `\|version: 1$`},
	{key: "raw.apparmor", reason: "where the host enforces no AppArmor there is no profile that it could be a part of; e2e.TestRawAppArmorIsCheckedAndTakesEffectAtOnce does it in the lab's guest"},
	{key: "raw.lxc", on: "a", set: "lxc.environment = RAWLXC=1", sh: `tr '\0' '\n' </proc/$PID/environ`, want: `(^|\n)RAWLXC=1\n`},
	{key: "raw.idmap", on: "b", set: "both 1000 1000", sh: `cat /proc/$PID/uid_map`, want: `\n +1000 +1000 +1\n`},
	{key: "raw.seccomp", on: "raw", set: "2\ndenylist\nmkdir errno 22\nmkdirat errno 22", sh: `run mkdir /x`, want: `Invalid argument`},
	{key: "snapshots.expiry", on: "a", set: "1d", sh: `$BERTH snapshot a dated; $BERTH query /1.0/instances/a/snapshots/dated`, want: `"expires_at": ?"2`},
	{key: "snapshots.pattern", on: "a", set: "walk%d", sh: `$BERTH snapshot a; $BERTH query /1.0/instances/a/snapshots`, want: `/snapshots/walk0`},
}

var limitKeys = []entry{
	{key: "limits.cpu", on: "a", set: "0-0", sh: `grep Cpus_allowed_list /proc/$PID/status`, want: `:\s+0\n`},
	{key: "limits.cpu.allowance", on: "a", set: "25ms/100ms", sh: `cg cpu cpu.cfs_quota_us cpu.max`, want: `^25000\b`},
	{key: "limits.cpu.priority", on: "b", set: "3", sh: `cg cpu cpu.shares cpu.weight`, want: `^(1017|93)\n`},
	{key: "limits.disk.priority", on: "a", set: "10", sh: `{ cg blkio blkio.bfq.weight io.weight || cg blkio blkio.weight io.weight; } 2>/dev/null || $BERTH warning list --format csv`, want: `^(default )?(1000|200)\n|CGroup blkio.weight`},
	{key: "limits.kernel.*", on: "a", set: "limits.kernel.nofile=4321", sh: `grep 'open files' /proc/$PID/limits`, want: ` 4321 +4321 `},
	{key: "limits.memory", on: "a", set: "96MiB", sh: `cg memory memory.limit_in_bytes memory.max`, want: `^100663296\n`},
	{key: "limits.memory.enforce", on: "b", set: "soft", sh: `cg memory memory.soft_limit_in_bytes memory.high`, want: `^67108864\n`},
	{key: "limits.memory.swap", on: "b", set: "false", sh: `cg memory memory.swappiness memory.swap.max`, want: `^0\n`},
	{key: "limits.memory.swap.priority", on: "a", set: "7", sh: `cg memory memory.swappiness - 2>/dev/null || $BERTH warning list --format csv`, want: `^53\n|(?i)swap`},
	{key: "limits.network.priority", set: "5", refused: true},
	{key: "limits.processes", on: "a", set: "77", sh: `cg pids pids.max pids.max`, want: `^77\n`},
}

var securityKeys = []entry{
	{key: "security.devlxd", on: "a", set: "false", sh: `inside ls /dev; $BERTH config set a security.devlxd=true`, want: `(?s)null.*security.devlxd="true" is not supported`},
	{key: "security.idmap.base", on: "i", set: "400000", sh: `cat /proc/$PID/uid_map`, want: `^ +0 +400000 `},
	{key: "security.idmap.isolated", on: "j", set: "true", sh: `cat /proc/$PID/uid_map`, want: `^ +0 +[0-9]{6,} +65536\n`},
	{key: "security.idmap.size", on: "i", set: "70000", sh: `cat /proc/$PID/uid_map`, want: ` 70000\n`},
	{key: "security.nesting", on: "b", set: "true", sh: `inside ls /dev/.lxc/proc/uptime; grep ' / / ' /proc/$PID/mountinfo`, want: `^/dev/.lxc/proc/uptime`},
	{key: "security.privileged", on: "raw", set: "true", sh: `cat /proc/$PID/uid_map`, want: ` 4294967295\n`},
	{key: "security.protection.delete", on: "broken", set: "true", sh: `$BERTH delete broken`, want: `protected`},
	{key: "security.protection.shift", reason: "it keeps a start from shifting owners, which there is to do only where the kernel or the file system has no idmapped mounts; internal/instance (shift_test.go) and e2e (shift_test.go) run it so"},
	{key: "security.syscalls.allow", on: "i", set: "<all but mkdir>", sh: `run mkdir /x && echo made; run ls -d /etc`, want: `^[^m]*/etc\n$`},
	{key: "security.syscalls.deny", on: "b", set: "mkdir errno 22\nmkdirat errno 22", sh: `run mkdir /x`, want: `Invalid argument`},
	{key: "security.syscalls.deny_default", on: "j", set: "false", sh: `grep Seccomp: /proc/$PID/status; grep -c kexec_load $DIR/security/seccomp/a`, want: `^Seccomp:\s+0\n1\n`},
}

var volatileKeys = []entry{
	{key: "volatile.apply_template", on: "a", sh: `$BERTH config get new volatile.apply_template; $BERTH config get a volatile.apply_template`, want: `^create\n\n?$`},
	{key: "volatile.base_image", on: "a", sh: `$BERTH image list --format csv -c F | grep -x "$($BERTH config get a volatile.base_image)"`, want: `^[0-9a-f]{64}\n$`},
	{key: "volatile.cloud-init.instance-id", on: "new", sh: `old=$($BERTH config get new volatile.cloud-init.instance-id); $BERTH config set new cloud-init.user-data=x; new=$($BERTH config get new volatile.cloud-init.instance-id); [ "$old" != "$new" ] && echo changed $new`, want: `^changed [0-9a-f-]{36}\n$`},
	{key: "volatile.idmap.base", on: "i", sh: `$BERTH config get i volatile.idmap.base`, want: `^400000\n`},
	{key: "volatile.idmap.current", on: "i", sh: `$BERTH config get i volatile.idmap.current`, want: `"Hostid":400000,`},
	{key: "volatile.idmap.next", on: "i", sh: `$BERTH config get i volatile.idmap.next`, want: `"Hostid":400000,`},
	{key: "volatile.last_state.idmap", on: "a", sh: `stat -c %u $DIR/containers/a/rootfs/etc; $BERTH config get a volatile.last_state.idmap`, want: `^0\n\[\]\n|^[1-9].*Hostid`},
	{key: "volatile.last_state.power", on: "a", sh: `$BERTH config get a volatile.last_state.power`, want: `^RUNNING\n`},
	{key: "volatile.uuid", on: "a", sh: `$BERTH config get a volatile.uuid`, want: `^[0-9a-f-]{36}\n`},
	{key: "volatile.*.apply_quota", on: "new", sh: `$BERTH config set new volatile.root.apply_quota=7MiB; $BERTH start new; cat $DIR/berthd.log`, want: `size of a volume is not enforced.*size=7340032`},
	{key: "volatile.*.host_name", on: "a", sh: `ip -br link show $($BERTH config get a volatile.eth0.host_name)`, want: `^veth\w+@\w+ +UP `},
	{key: "volatile.*.hwaddr", on: "a", sh: `inside ip link show eth0 | grep -o "$($BERTH config get a volatile.eth0.hwaddr)"`, want: `^[0-9a-f:]{17}\n`},
	{key: "volatile.*.name", reason: "LXD notes the name of a NIC that has none of its own; here such a NIC is named for its device or refused, so there is nothing to note. A record from LXD keeps it"},
	{key: "volatile.*.last_state.created", reason: "of NICs that are physical interfaces of the host, which there are none of here; a record from LXD keeps it"},
	{key: "volatile.*.last_state.mtu", reason: "of NICs that are physical interfaces of the host, which there are none of here; a record from LXD keeps it"},
	{key: "volatile.*.last_state.hwaddr", reason: "of NICs that are physical interfaces of the host, which there are none of here; a record from LXD keeps it"},
}

// bootKeys are seen while the daemon goes down and comes up again: "hi" goes first in both, with a second before the next.
var bootKeys = []entry{
	{key: "boot.autostart", on: "lo", set: "true", sh: `$BERTH list -c ns --format csv`, want: `\nlo,RUNNING\n.*off,STOPPED|off,STOPPED.*lo,RUNNING`},
	{key: "boot.autostart.delay", on: "hi", set: "2", sh: `cat $DIR/delay`, want: `^[2-9]\.|^[1-9][0-9]\.`},
	{key: "boot.autostart.priority", on: "hi", set: "9", sh: `cat $DIR/delay`, want: `^[0-9]`},
	{key: "boot.host_shutdown_timeout", on: "hi", set: "1", sh: `cat $DIR/down`, want: `in time`},
	{key: "boot.stop.priority", on: "hi", set: "9", sh: `cat $DIR/down`, want: `^hi first`},
}

func TestEveryKeyOfInstances(t *testing.T) {
	complete(t, instance.Keys, instanceEntries)
	w := newWorld(t)
	w.Berth("network", "create", "br0", "ipv4.address=10.39.1.1/24", "ipv6.address=none")
	w.makeInstances(t)
	running := slices.Concat(instanceKeys, limitKeys, securityKeys, volatileKeys)
	for _, door := range [][]string{{"config", "set", "a"}, {"profile", "set", "a"}} {
		refuse(t, running, func(e entry) error { return w.try(append(door, e.keyValue())...) })
	}
	w.observe(t, running)
	w.Berth("profile", "unset", "broken", "security.protection.delete")
	w.Berth("delete", "-f", "a", "b", "i", "j", "raw", "new", "broken")
	w.shutDownAndUp(t)
	w.observe(t, bootKeys)
}

// makeInstances makes a profile with keys for each instance that entries name, and starts it.
func (w *world) makeInstances(t *testing.T) {
	t.Helper()
	sets := map[string][]string{
		"a": nil, "b": {"limits.memory=64MiB"}, "i": {"security.idmap.isolated=true"}, "j": nil, "raw": nil, "broken": nil,
	}
	for _, e := range slices.Concat(instanceKeys, limitKeys, securityKeys) {
		if e.sh == "" || e.set == "" {
			continue
		}
		if e.key == "security.syscalls.allow" {
			e.set = allowed(t)
		}
		sets[e.on] = append(sets[e.on], e.keyValue())
	}
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		w.Berth("profile", "create", name)
		if len(sets[name]) > 0 {
			w.Berth(append([]string{"profile", "set", name}, sets[name]...)...)
		}
		w.Berth("init", "bb", name, "-p", "default", "-p", name)
	}
	w.Berth("init", "bb", "new")
	w.Berth("config", "device", "add", "a", "eth0", "nic", "network=br0", "name=eth0")
	w.addTemplate(t, "a")
	for name := range sets {
		if name != "broken" {
			w.Berth("start", name)
		}
	}
}

// addTemplate has the text above rendered into /template at each start.
func (w *world) addTemplate(t *testing.T, name string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "template")
	if err := os.WriteFile(file, []byte(template), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.TryInput(template, harness.Program("berth"), "config", "template", "edit", name, "keys.tpl"); err != nil {
		if out, err := w.TryInput(template, harness.Program("berth"), "config", "template", "create", name, "keys.tpl"); err != nil {
			t.Fatal(err, out)
		}
	}
	metadata := w.Berth("config", "metadata", "show", name)
	metadata = strings.Replace(metadata, "templates:\n", "templates:\n  /template:\n    when: [create, start]\n    template: keys.tpl\n", 1)
	if out, err := w.TryInput(metadata, harness.Program("berth"), "config", "metadata", "edit", name); err != nil {
		t.Fatal(err, out)
	}
}
