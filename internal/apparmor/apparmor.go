// Package apparmor writes AppArmor profiles from typed rules, loads them into the kernel and takes them out again, and starts programs
// under them. The names of ours hold a hash of the daemon's folder, so that two daemons never touch each other's.
package apparmor

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// State is what the host's AppArmor lets this process do.
type State int

// States.
const (
	// Off: the kernel has none, or it is not enabled.
	Off State = iota
	// Outer: there is one, but it confines this process or belongs to somebody further out (a container without a policy namespace of
	// its own): no profile can be loaded, and what we start is confined as we are.
	Outer
	// On: profiles can be loaded.
	On
)

// The kernel's files: Documentation/admin-guide/LSM/apparmor.rst and security/apparmor/apparmorfs.c.
const (
	securityFS  = "/sys/kernel/security/apparmor"
	enabledFile = "/sys/module/apparmor/parameters/enabled"
)

// Host is the AppArmor of the machine as one daemon uses it. It is safe for concurrent use; whoever removes a profile must know that nobody
// loads it.
type Host struct {
	fs     string // securityFS
	dir    string // holds profiles/ and cache/
	prefix string // of the names of our profiles: "berth-1a2b3c4d-"
	state  State
	why    string
	parser string // path of apparmor_parser; empty: not there
	// environment hashes what compiled profiles depend on beside their text.
	environment func() []byte
	// stacks tells whether a profile can be laid over a policy namespace of its own.
	stacks func() bool
	busy   sync.Map // name of a profile to the *sync.Mutex of its files
}

// New looks at the host. root is the daemon's folder, the profiles of which go to security/apparmor in it.
func New(root string) *Host {
	h := &Host{fs: securityFS, dir: filepath.Join(root, "security", "apparmor"), prefix: prefixOf(root), parser: findParser()}
	h.state, h.why = probe()
	h.stacks = sync.OnceValue(func() bool { return stacks(h.fs) })
	h.environment = sync.OnceValue(func() []byte { return environment(h.fs, h.parser) })
	return h
}

// prefixOf is what the names of a daemon's profiles begin with. Two names of one folder are one daemon.
func prefixOf(root string) string {
	if abs, err := filepath.Abs(root); err == nil {
		root = abs
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	sum := sha256.Sum256([]byte(root))
	return "berth-" + hex.EncodeToString(sum[:4]) + "-"
}

func probe() (State, string) {
	raw, err := os.ReadFile(enabledFile)
	if err != nil || !strings.HasPrefix(string(raw), "Y") {
		return Off, "Disabled because of lack of kernel support"
	}
	if _, err := os.Stat(filepath.Join(securityFS, ".replace")); err != nil {
		return Outer, "Disabled because " + securityFS + " isn't there"
	}
	if label := ownLabel(); label != "unconfined" {
		return Outer, fmt.Sprintf("Disabled because this daemon is confined itself, as %q", label)
	}
	if !mayAdminister() {
		return Outer, "Disabled because this daemon has no right to load profiles (CAP_MAC_ADMIN)"
	}
	return On, ""
}

// ownLabel is what this process is confined as: "unconfined", or "name (mode)".
func ownLabel() string {
	for _, path := range []string{"/proc/self/attr/apparmor/current", "/proc/self/attr/current"} {
		if raw, err := os.ReadFile(path); err == nil {
			return strings.TrimRight(string(raw), "\n\x00")
		}
	}
	return ""
}

// mayAdminister tells whether the kernel accepts policy from this process. In a user namespace it does only if there is a policy
// namespace at the same depth.
func mayAdminister() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil || data[unix.CAP_MAC_ADMIN/32].Effective&(1<<(unix.CAP_MAC_ADMIN%32)) == 0 {
		return false
	}
	raw, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || strings.Join(strings.Fields(string(raw)), " ") == "0 0 4294967295" {
		return err == nil
	}
	level, err := os.ReadFile(filepath.Join(securityFS, ".ns_level"))
	return err == nil && strings.TrimSpace(string(level)) != "0"
}

func findParser() string {
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		path := filepath.Join(dir, "apparmor_parser")
		if unix.Access(path, unix.X_OK) == nil {
			return path
		}
	}
	return ""
}

// State says what the host's AppArmor lets us do, and why where that is not everything.
func (h *Host) State() (State, string) {
	if h == nil {
		return Off, "Disabled"
	}
	return h.state, h.why
}

// Warning says why instances are not, or cannot be, confined, in the words of the API's warnings; empty where they are.
func (h *Host) Warning() string {
	switch {
	case h.state != On:
		return h.why
	case h.parser == "":
		return "Disabled because 'apparmor_parser' couldn't be found"
	}
	return ""
}

func stacks(securityFS string) bool {
	for _, feature := range []string{"domain/stack", "namespaces/profile"} {
		raw, err := os.ReadFile(filepath.Join(securityFS, "features", feature))
		if err != nil || strings.TrimSpace(string(raw)) != "yes" {
			return false
		}
	}
	return true
}
