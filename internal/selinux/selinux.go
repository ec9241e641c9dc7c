// Package selinux finds the context that the host's policy has for containers.
package selinux

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// The kernel's file system, and where policies are configured: selinux_config(5).
const (
	kernelFS   = "/sys/fs/selinux"
	configRoot = "/etc/selinux"
)

// Enabled tells whether the kernel has SELinux with a policy loaded, enforcing or not.
func Enabled() bool { return enabled(kernelFS) }

// enabled looks for the kernel's file system, and for classes, which only a loaded policy has.
func enabled(fs string) bool {
	if _, err := os.Stat(filepath.Join(fs, "enforce")); err != nil {
		return false
	}
	classes, err := os.ReadDir(filepath.Join(fs, "class"))
	return err == nil && len(classes) > 0
}

// fallback is the convention of policies that name no context for containers.
const fallback = "system_u:system_r:container_t:s0"

// ContainerContext is the context for the processes of a container, in the form that liblxc takes; empty where SELinux is not enabled.
// It is what the loaded policy's contexts/lxc_contexts names (lxc_contexts(5)).
func ContainerContext() string {
	if !Enabled() {
		return ""
	}
	return containerContext(configRoot)
}

func containerContext(root string) string {
	policy := value(filepath.Join(root, "config"), "SELINUXTYPE")
	if policy == "" || policy != filepath.Base(policy) {
		return fallback
	}
	context := value(filepath.Join(root, policy, "contexts", "lxc_contexts"), "process")
	if !valid.MatchString(context) {
		return fallback
	}
	return context
}

// valid is user:role:type, with a level where the policy has any.
var valid = regexp.MustCompile(`^[A-Za-z0-9_.]+:[A-Za-z0-9_.]+:[A-Za-z0-9_.]+(:[A-Za-z0-9_.,:-]+)?$`)

// maxFile bounds what is read of a configuration file.
const maxFile = 64 << 10

// value finds a key of a file of lines like KEY=value or key = "value"; the last one counts.
func value(path, key string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	found := ""
	for s := bufio.NewScanner(io.LimitReader(f, maxFile)); s.Scan(); {
		name, v, ok := strings.Cut(s.Text(), "=")
		if ok && strings.TrimSpace(name) == key {
			found = strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return found
}
