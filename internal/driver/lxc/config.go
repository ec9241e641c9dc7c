package lxc

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/cgroup"
	"github.com/berthd/berth/internal/spec"
)

// layout says where the files of one instance lie and what its control groups are called.
type layout struct {
	Log, Console, Config string // files
	Seccomp, Restart     string // files
	Stage                string // folder; see stage.go
	Plan                 string // file of what stands there
	Payload, Monitor     string // control groups
	Pivot                string
}

// facts is what rendering must know of the host.
type facts struct {
	// AppArmor and SELinux are what liblxc is to confine the container as; empty: it is not told anything.
	AppArmor, SELinux string
	// CoreScheduling: no thread of another container, or of the host, runs beside one of the container's on the same core.
	CoreScheduling bool
	Exists         func(path string) bool
	// Limits turns a Cgroup into writes; see cgroup.Host.
	Limits func(c spec.Cgroup) []cgroup.Setting
	// DevicesV2 tells that device rules go to cgroup v2; Devices that there are any.
	Devices, DevicesV2 bool
}

// Mounts that every container gets where the host has the source. The list is LXD's (container-environment.md).
var hostMounts = []struct{ source, create string }{
	{"/dev/fuse", "file"},
	{"/dev/net/tun", "file"},
	{"/proc/sys/fs/binfmt_misc", "dir"},
	{"/sys/firmware/efi/efivars", "dir"},
	{"/sys/fs/fuse/connections", "dir"},
	{"/sys/fs/pstore", "dir"},
	{"/sys/kernel/debug", "dir"},
	{"/sys/kernel/security", "dir"},
	{"/sys/kernel/tracing", "dir"},
}

// Device rules of every container: mknod of anything, which a user namespace refuses anyway, and use of what every system has.
// The list is LXD's for privileged ones. Others have the same: a node may come with an image or in a volume.
var deviceRules = []string{
	"b *:* m", "c *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm",
	"c 5:2 rwm", "c 10:200 rwm", "c 10:229 rwm", "c 136:* rwm",
}

// Capabilities that no container keeps: they act on the host as a whole. A container of its own user namespace
// has none of the host's anyway, and some of its software wants to see them.
var privilegedDrop = []string{"sys_time", "sys_module", "sys_rawio", "mac_admin", "mac_override"}

// conf is a file of liblxc under construction. The first value that cannot be written ends it with an error.
type conf struct {
	strings.Builder
	err error
}

// set writes one key. A value from outside that held a newline would be a key of its own.
func (c *conf) set(key, value string) {
	if strings.ContainsAny(key+value, "\n\r\x00") && c.err == nil {
		c.err = api.BadRequest("value of %s holds a line break or NUL", key)
	}
	fmt.Fprintf(c, "%s = %s\n", key, value)
}

// render writes the configuration of liblxc for s. It reads nothing but its arguments.
func render(s *spec.Spec, l layout, f facts) (string, error) {
	c := &conf{}
	c.set("lxc.log.file", l.Log)
	c.set("lxc.log.level", "warn")
	c.set("lxc.console.buffer.size", "auto")
	c.set("lxc.console.size", "auto")
	c.set("lxc.console.logfile", l.Console)
	c.set("lxc.cgroup.dir.container", l.Payload)
	if len(s.IDMap) == 0 {
		// Root inside may write to every control group that it sees. So it sees one below that which has the limits.
		c.set("lxc.cgroup.dir.container.inner", "inner")
	}
	c.set("lxc.cgroup.dir.monitor", l.Monitor)
	c.set("lxc.cgroup.dir.monitor.pivot", l.Pivot)
	c.set("lxc.uts.name", s.Name)
	c.set("lxc.arch", archOf(s.Arch))
	c.set("lxc.autodev", "1")
	c.set("lxc.tty.max", "0")
	c.set("lxc.pty.max", "1024")
	if f.CoreScheduling {
		c.set("lxc.sched.core", "1")
	}
	c.set("lxc.hook.version", "1")
	c.set("lxc.hook.post-stop", restartHook(l.Restart))
	renderRoot(c, s, l)
	renderMounts(c, s, l, f)
	renderSecurity(c, s, l, f)
	renderProcess(c, s)
	renderCgroup(c, s, f)
	for i, n := range s.NICs {
		key := "lxc.net." + strconv.Itoa(i)
		c.set(key+".type", "phys")
		c.set(key+".link", n.HostName)
		c.set(key+".name", n.Name)
		c.set(key+".flags", "up")
		// The host's end is made with address and MTU; liblxc sets them again where the interface is a real one.
		if n.HWAddr != "" {
			c.set(key+".hwaddr", n.HWAddr)
		}
		if n.MTU > 0 {
			c.set(key+".mtu", strconv.Itoa(n.MTU))
		}
	}
	if len(s.NICs) == 0 {
		c.set("lxc.net.0.type", "empty")
	}
	renderRaw(c, s)
	return c.String(), c.err
}

// renderRaw puts raw.lxc last: it is the administrator's own configuration and wins.
func renderRaw(c *conf, s *spec.Spec) {
	if strings.ContainsRune(s.RawLXC, 0) && c.err == nil {
		c.err = api.BadRequest("raw.lxc holds NUL")
	}
	for line := range strings.Lines(s.RawLXC) {
		c.WriteString(strings.TrimRight(line, "\r\n") + "\n")
	}
}

func archOf(arch string) string {
	switch arch {
	case "i686", "i386", "i586", "x86":
		return "i686"
	case "":
		return "linux64"
	}
	return arch
}

func renderRoot(c *conf, s *spec.Spec, l layout) {
	if stagesRoot(s) {
		c.set("lxc.rootfs.path", "dir:"+filepath.Join(l.Stage, stagedRoot))
	} else {
		c.set("lxc.rootfs.path", "dir:"+s.RootFS.Path)
		if len(s.RootFS.Options) > 0 {
			c.set("lxc.rootfs.options", strings.Join(s.RootFS.Options, ","))
		}
	}
	for _, e := range s.IDMap {
		if e.UID {
			c.set("lxc.idmap", fmt.Sprintf("u %d %d %d", e.NSID, e.HostID, e.Count))
		}
		if e.GID {
			c.set("lxc.idmap", fmt.Sprintf("g %d %d %d", e.NSID, e.HostID, e.Count))
		}
	}
}

func renderMounts(c *conf, s *spec.Spec, l layout, f facts) {
	if len(s.IDMap) == 0 {
		// Its root is the host's: most of proc and sys stays read-only for it.
		c.set("lxc.mount.auto", "proc:mixed sys:mixed cgroup:mixed")
	} else {
		c.set("lxc.mount.auto", "proc:rw sys:rw cgroup:mixed")
	}
	for _, m := range hostMounts {
		if f.Exists(m.source) {
			bind := "rbind"
			if m.create == "file" {
				bind = "bind"
			}
			entry(c, m.source, m.source[1:], "none", bind+",create="+m.create+",optional")
		}
	}
	if len(s.IDMap) == 0 { // in a user namespace init mounts its own
		entry(c, "mqueue", "dev/mqueue", "mqueue", "rw,relatime,create=dir,optional")
	}
	if s.Nesting {
		// What a container manager inside needs to mount procfs and sysfs of its own, out of the way.
		entry(c, "proc", "dev/.lxc/proc", "proc", "create=dir,optional")
		entry(c, "sys", "dev/.lxc/sys", "sysfs", "create=dir,optional")
	}
	for n, m := range s.Mounts {
		source, fstype, options := m.Source, m.Type, append([]string(nil), m.Options...)
		if isBind(m) {
			source, fstype, options = filepath.Join(l.Stage, stagedName(n)), "none", stagedOptions(m)
		}
		if m.Create != "" {
			options = append(options, "create="+m.Create)
		}
		if m.Optional {
			options = append(options, "optional")
		}
		if len(options) == 0 {
			options = []string{"defaults"}
		}
		entry(c, source, strings.TrimPrefix(m.Target, "/"), fstype, strings.Join(options, ","))
	}
}

// stagedOptions are those that liblxc needs for a mount that has its attributes already.
func stagedOptions(m spec.Mount) []string {
	options := []string{"bind"}
	if isRecursive(m) {
		options = []string{"rbind"}
	}
	for _, o := range m.Options {
		if _, ok := propagations[o]; ok {
			options = append(options, o)
		}
	}
	return options
}

// fstab's own escapes: its fields end at blanks.
var fstab = strings.NewReplacer(" ", `\040`, "\t", `\011`, `\`, `\134`)

func entry(c *conf, source, target, fstype, options string) {
	if !fs.ValidPath(target) && c.err == nil {
		c.err = api.BadRequest("mount target %q is not a path beneath the root", target)
	}
	c.set("lxc.mount.entry", strings.Join([]string{fstab.Replace(source), fstab.Replace(target), fstab.Replace(fstype), fstab.Replace(options)}, " ")+" 0 0")
}

func renderSecurity(c *conf, s *spec.Spec, l layout, f facts) {
	if f.AppArmor != "" {
		c.set("lxc.apparmor.profile", f.AppArmor)
	}
	if f.SELinux != "" {
		c.set("lxc.selinux.context", f.SELinux)
	}
	if s.Seccomp != "" {
		c.set("lxc.seccomp.profile", l.Seccomp)
	}
	drop := s.DropCaps
	if len(s.IDMap) == 0 && drop == nil {
		drop = privilegedDrop
	}
	if len(drop) > 0 {
		c.set("lxc.cap.drop", strings.Join(drop, " "))
	}
}

func renderProcess(c *conf, s *spec.Spec) {
	for _, k := range keys(s.Environment) {
		c.set("lxc.environment", k+"="+s.Environment[k])
	}
	for _, k := range keys(s.Sysctls) {
		c.set("lxc.sysctl."+k, s.Sysctls[k])
	}
	for _, k := range keys(s.Rlimits) {
		c.set("lxc.prlimit."+k, s.Rlimits[k])
	}
}

func renderCgroup(c *conf, s *spec.Spec, f facts) {
	if f.Devices {
		prefix := "lxc.cgroup.devices."
		if f.DevicesV2 {
			prefix = "lxc.cgroup2.devices."
		}
		c.set(prefix+"deny", "a")
		for _, r := range deviceRules {
			c.set(prefix+"allow", r)
		}
		for _, r := range s.Devices {
			verb := "deny"
			if r.Allow {
				verb = "allow"
			}
			c.set(prefix+verb, r.Rule)
		}
	}
	for _, set := range f.Limits(s.Cgroup) {
		prefix := "lxc.cgroup."
		if set.V2 {
			prefix = "lxc.cgroup2."
		}
		c.set(prefix+set.File, set.Value)
	}
}

func keys(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// layoutOf names everything of one instance.
func (d *Driver) layoutOf(id string) layout {
	logs := filepath.Join(d.root, "logs", id)
	return layout{
		Log: filepath.Join(logs, "lxc.log"), Console: filepath.Join(logs, "console.log"), Config: filepath.Join(logs, "lxc.conf"),
		Seccomp: filepath.Join(d.root, "security", "seccomp", id),
		Restart: filepath.Join(d.root, "run", "restart", id),
		Stage:   filepath.Join(d.stageRoot(), id),
		Plan:    filepath.Join(d.root, "run", "plans", id),
		Payload: d.payloadPrefix() + id, Monitor: d.monitorPrefix() + id, Pivot: "lxc.pivot." + d.tag + "." + id,
	}
}
