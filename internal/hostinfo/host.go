// Package hostinfo describes the machine: its kernel, its system, and what both can do for instances.
package hostinfo

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Kernel returns system name, release and machine of the running kernel: "Linux", "6.1.0-18-amd64", "x86_64".
func Kernel() (system, release, machine string) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "Linux", "", ""
	}
	return unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:])
}

// Architectures are those whose programs this machine runs, its own first.
func Architectures() []string {
	_, _, machine := Kernel()
	switch machine {
	case "x86_64":
		return []string{"x86_64", "i686"}
	case "aarch64":
		return []string{"aarch64", "armv8l", "armv7l"}
	case "armv8l":
		return []string{"armv8l", "armv7l"}
	case "ppc64le", "ppc64", "s390x", "riscv64", "mips64", "armv7l", "i686":
		return []string{machine}
	}
	return []string{machine}
}

// OS returns name and version of the installed system, from os-release.
func OS() (name, version string) {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		if data, err = os.ReadFile("/usr/lib/os-release"); err != nil {
			return "", ""
		}
	}
	scan := bufio.NewScanner(bytes.NewReader(data))
	for scan.Scan() {
		key, value, _ := strings.Cut(scan.Text(), "=")
		if plain, err := strconv.Unquote(value); err == nil {
			value = plain
		}
		switch key {
		case "NAME":
			name = value
		case "VERSION_ID":
			version = value
		}
	}
	return name, version
}

// KernelFeatures tells what the kernel can do for containers, by the names that the API has for it.
func KernelFeatures() map[string]string {
	f := map[string]bool{
		"idmapped_mounts":           hasMountSetattr(),
		"netnsid_getifaddrs":        kernelAtLeast(4, 20),
		"seccomp_listener":          hasSeccompNotify(),
		"seccomp_listener_continue": hasSeccompNotify() && kernelAtLeast(5, 5),
		"shiftfs":                   false, // never used by Berth: idmapped mounts do its work
		"uevent_injection":          kernelAtLeast(4, 18),
		"unpriv_fscaps":             kernelAtLeast(4, 14),
	}
	shown := make(map[string]string, len(f))
	for name, ok := range f {
		shown[name] = strconv.FormatBool(ok)
	}
	return shown
}

func kernelAtLeast(major, minor int) bool {
	_, release, _ := Kernel()
	parts := strings.FieldsFunc(release, func(r rune) bool { return r < '0' || r > '9' })
	if len(parts) < 2 {
		return false
	}
	a, _ := strconv.Atoi(parts[0])
	b, _ := strconv.Atoi(parts[1])
	return a > major || a == major && b >= minor
}

// hasMountSetattr asks for a change of nothing on a bad descriptor: a kernel that has the call says so.
func hasMountSetattr() bool {
	err := unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{})
	return err != unix.ENOSYS // a bare errno
}

// hasSeccompNotify asks for the sizes of the notification structs.
func hasSeccompNotify() bool {
	const getNotifSizes = 3 // SECCOMP_GET_NOTIF_SIZES, linux/seccomp.h
	var sizes [3]uint16
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, getNotifSizes, 0, uintptr(ptr(&sizes)))
	return errno == 0
}

// Helper is the program that links liblxc; it is asked once, when somebody wants to know.
type Helper struct {
	path string
	once sync.Once
	ver  string
	feat map[string]string
}

// NewHelper is the program at a path.
func NewHelper(path string) *Helper { return &Helper{path: path} }

// Path is the program.
func (h *Helper) Path() string { return h.path }

// lxcFeatures are the API's names for what a liblxc may have.
var lxcFeatures = []string{
	"cgroup2", "core_scheduling", "devpts_fd", "idmapped_mounts_v2", "mount_injection_file", "network_gateway_device_route",
	"network_ipvlan", "network_l2proxy", "network_phys_macvlan_mtu", "network_veth_router", "pidfd",
	"seccomp_allow_deny_syntax", "seccomp_notify", "seccomp_proxy_send_notify_fd",
}

// CoreScheduling tells whether the kernel can keep those who do not trust each other from sharing a core at a time: it was built
// so (Linux 5.14, CONFIG_SCHED_CORE), and cores run several threads.
func CoreScheduling() bool {
	const get, thread = 0, 0 // PR_SCHED_CORE_GET, PR_SCHED_CORE_SCOPE_THREAD
	var cookie uint64
	return unix.Prctl(unix.PR_SCHED_CORE, get, 0, thread, uintptr(ptr(&cookie))) == nil
}

// LXC returns liblxc's version, and what it can do on this kernel.
func (h *Helper) LXC() (version string, features map[string]string) {
	h.once.Do(func() {
		var version sync.WaitGroup
		version.Go(func() { h.ver = h.ask("version") })
		have := map[string]bool{}
		for _, name := range strings.Fields(h.ask("features", lxcFeatures...)) {
			have[name] = true
		}
		version.Wait()
		have["core_scheduling"] = have["core_scheduling"] && CoreScheduling()
		h.feat = map[string]string{}
		for _, name := range lxcFeatures {
			h.feat[name] = strconv.FormatBool(have[name])
		}
	})
	return h.ver, h.feat
}

func (h *Helper) ask(what string, names ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.path, append([]string{what}, names...)...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
