package lxc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/internal/spec"
)

// The profile of a container adds to the isolation by liblxc and the kernel. It is not a list of what a container may do: it allows
// everything except what would affect the host. For a container in a user namespace the kernel refuses most of that anyway; a privileged
// container's root is the host's, and only the profile keeps it from changing the host's settings and read-only mounts.
//
// For a privileged container three things must hold together, since AppArmor judges by path:
//   - procfs and sysfs are seen only at paths that end in their usual names, so that the rules on files below find what they name;
//   - a mount may become read-only, never writable;
//   - file systems that speak for the whole kernel are not mounted at all.
//
// The calls of the newer mount interface go past AppArmor up to Linux 6.7; instance.Plan denies them by seccomp.

// profileOf is the profile of a container.
func profileOf(id string, c spec.Confinement) apparmor.Profile {
	p := apparmor.Profile{Kind: apparmor.Instance, ID: id, Raw: c.RawAppArmor}
	p.Rules = append(fixed("capability", "network", "file", "dbus", "umount", "pivot_root"), apparmor.Self()...)
	p.Rules = append(p.Rules, denied(everywhere)...)
	switch {
	case !c.Privileged:
		p.Namespace = true
		p.Rules = append(p.Rules, fixed("mount")...)
		p.Rules = append(p.Rules, denied(unprivileged)...)
	case c.Nesting:
		p.Rules = append(p.Rules, privileged("/{,**/}")...)
		p.Rules = append(p.Rules, nested()...)
	default:
		p.Rules = append(p.Rules, privileged("/{,"+views+"}")...)
		p.Rules = append(p.Rules, alone()...)
	}
	return p
}

func fixed(rules ...string) []apparmor.Rule {
	list := make([]apparmor.Rule, len(rules))
	for i, r := range rules {
		list[i] = apparmor.Fixed(r)
	}
	return list
}

func denied(rules []string) []apparmor.Rule {
	list := fixed(rules...)
	for i, r := range list {
		list[i] = apparmor.Deny(r)
	}
	return list
}

// everywhere lists what is denied to every container.
var everywhere = []string{
	`"/proc/{sysrq-trigger,kcore,kmem,mem,kpage*}" rwklx`,
	`"/proc/{acpi,asound,bus,driver,fs,ide,irq,scsi,tty}/**" wkl`,
	`"/sys/firmware/**" wkl`,
	`"/sys/kernel/{debug,tracing,config,boot_params}/**" wkl`,
	`"/sys/fs/{pstore,bpf}/**" wkl`,
}

// unprivileged containers load profiles in their own namespace, which the kernel shows them as the only one.
var unprivileged = []string{
	`"/sys/kernel/security/[^a]**" wkl`,
	`"/sys/{module,power,hypervisor}/**" wkl`,
}

// File systems that are safe to mount: each mount is a new one, or shows the container's own namespaces.
const harmless = `mount fstype in (tmpfs,ramfs,mqueue,devpts,overlay,cgroup,cgroup2,autofs,fuse,fuse.*)`

// File systems that show or change what belongs to the whole kernel.
const global = `mount fstype in (binfmt_misc,bpf,configfs,debugfs,devtmpfs,efivarfs,functionfs,fusectl,gadgetfs,hugetlbfs,nfsd,pstore,resctrl,` +
	`rpc_pipefs,securityfs,selinuxfs,smackfs,tracefs,usbfs)`

// readOnly are the exact options of mounts that become, or stay, read-only, without "remount" and "bind".
func readOnly() []string {
	var all []string
	for n := range 1 << 3 {
		options := "ro"
		for bit, name := range []string{"nosuid", "nodev", "noexec"} {
			if n&(1<<bit) != 0 {
				options += "," + name
			}
		}
		all = append(all, options, options+",relatime", options+",noatime")
	}
	return all
}

// privileged are the rules common to both kinds of privileged containers. prefix matches the folders below which the root file system
// may be mounted again, with its own proc and sys.
func privileged(prefix string) []apparmor.Rule {
	rules := fixed(harmless, `mount options=(bind)`)
	for _, kind := range []string{"private", "slave", "shared", "unbindable"} {
		rules = append(rules, fixed(`mount options=(`+kind+`)`, `mount options=(r`+kind+`)`)...)
	}
	for _, options := range readOnly() {
		rules = append(rules, fixed(`mount options=(remount,bind,`+options+`)`)...)
	}
	sysctls := `{[^n]**,n[^e]**}` // all but net, which is the container's own
	closed := []string{
		global,
		"capability sys_module", "capability sys_rawio", "capability mac_admin", "capability mac_override",
		`"` + prefix + `proc/sys/` + sysctls + `" wkl`,
		`"` + prefix + `proc/{sysrq-trigger,kcore,kmem,mem}" rwklx`,
		`"` + prefix + `proc/{acpi,bus,driver,fs,ide,irq,scsi,tty}/**" wkl`,
		`"` + prefix + `sys/{block,bus,class,dev,firmware,hypervisor,kernel,module,power}/**" wkl`,
		`"` + prefix + `sys/devices/{[^v]**,v[^i]**,virtual/[^n]**}" wkl`,
		`"` + prefix + `sys/fs/{[^c]**,c[^g]**}" wkl`,
		// procfs and sysfs without a place, as a file that was opened in a mount namespace that has ended: their paths begin at
		// their own root.
		`"/sys/{abi,crypto,debug,dev,fscache,kernel,sunrpc,user,vm,xen}/**" wkl`,
		`"/{sysrq-trigger,kcore}" rwklx`,
		`"/{bus,firmware,hypervisor,kernel,module,power}/**" wkl`,
		`"/devices/{[^v]**,v[^i]**,virtual/[^n]**}" wkl`,
		`pivot_root "` + prefix + `{proc,sys}/{,**}"`,
	}
	for _, options := range []string{"bind", "rbind", "move"} {
		closed = append(closed, `mount options=(`+options+`) "`+prefix+`{proc,sys}/{,**}"`)
	}
	return append(rules, denied(closed)...)
}

// views is where a privileged container may have another view of its whole root, with proc and sys: systemd makes one there for a service
// that has a mount namespace. A view may hold another one.
const views = "run/systemd/{,**/}{unit-root,mount-rootfs}/"

// alone are the rules of a privileged container without containers of its own. What holds a proc and sys, or may hold a view, cannot be moved.
func alone() []apparmor.Rule {
	rules := fixed(`mount options=(rbind) "/?**"`, `mount options=(move) "/?**"`, `mount options=(rbind) "/" -> "/run/systemd/{unit-root,mount-rootfs}/"`)
	closed := []string{`mount fstype in (proc,sysfs)`}
	for _, how := range []string{"rbind", "move"} {
		closed = append(closed, `mount options=(`+how+`) "/`+views+`"`, `mount options=(`+how+`) "/{,`+views+`}run/{,systemd/}"`)
	}
	return append(rules, denied(closed)...)
}

// nested are the rules of a privileged container that runs containers: they need proc and sys of their own, and other roots.
func nested() []apparmor.Rule {
	rules := fixed(
		`mount fstype=proc -> "/{,**/}proc/"`, `mount fstype=sysfs -> "/{,**/}sys/"`,
		`mount options=(rbind)`, `mount options=(move)`,
	)
	// Before AppArmor 3.0.9 and 3.1.4 a rule on remounting also allows new mounts with the options that are left (CVE-2016-1585).
	for _, options := range readOnly() {
		rules = append(rules, denied([]string{`mount fstype in (proc,sysfs) options=(` + options + `)`})...)
	}
	return rules
}

// confine loads the profile of a container and returns what liblxc is to be told of it: a label, "unchanged" where the daemon itself is
// confined and cannot load one, or nothing where there is no AppArmor. A profile that cannot be loaded is an error, and the container
// is not started.
func (d *Driver) confine(ctx context.Context, id string, c spec.Confinement) (string, error) {
	label, err := d.apparmor.Load(ctx, profileOf(id, c))
	if state, _ := d.apparmor.State(); err == nil && state == apparmor.Outer {
		label = "unchanged"
	}
	return label, err
}

// maxLabel bounds what is read of a label: the kernel gives a page.
const maxLabel = 4096

// commandLabel is the AppArmor label that a command is to get as it is executed, or nothing where liblxc gives it one before. That is
// too early in a privileged container, whose root may trace what has its label: so the label comes when nothing of the helper is
// left in the process. Others cannot trace into a user namespace above theirs; their label spans a policy namespace, in which
// the kernel finds the program's own profile only if the command has the label already.
func (d *Driver) commandLabel(id string) (string, error) {
	if state, _ := d.apparmor.State(); state != apparmor.On {
		return "", nil
	}
	i, err := d.initOf(id)
	if err != nil {
		return "", err
	}
	defer i.release()
	label, err := i.label()
	if err != nil || label == "unconfined" || strings.Contains(label, "//&") {
		return "", err
	}
	return label, nil
}

// label is what the process is confined as by AppArmor, without the mode.
func (i *initProcess) label() (string, error) {
	f, err := i.open("attr/apparmor/current", unix.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) { // before Linux 4.20
		f, err = i.open("attr/current", unix.O_RDONLY)
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	text := make([]byte, maxLabel)
	n, err := f.Read(text)
	if err != nil {
		return "", fmt.Errorf("AppArmor label of the instance: %w", err)
	}
	label, _, _ := strings.Cut(strings.TrimRight(string(text[:n]), "\n\x00"), " (")
	return label, nil
}

// Confine implements instance.Confiner: the profile of a running container is replaced, for all of its processes at once.
func (d *Driver) Confine(ctx context.Context, id string, c spec.Confinement) error {
	if d.get(id) == nil {
		return errNotRunning
	}
	_, err := d.confine(ctx, id, c)
	return err
}

// CheckAppArmor implements instance.Confiner.
func (d *Driver) CheckAppArmor(ctx context.Context, raw string) error {
	return d.apparmor.Check(ctx, raw)
}

// Forget implements instance.Confiner.
func (d *Driver) Forget(id string) error { return d.apparmor.Remove(apparmor.Instance, id) }

// Sweep implements instance.Confiner. Call it after Find.
func (d *Driver) Sweep(known func(id string) bool) error {
	runs := func(id string) bool {
		return d.get(id) != nil || d.payload(id).Exists() || d.monitor(id).Exists()
	}
	return d.apparmor.Sweep(apparmor.Instance, runs, known)
}
