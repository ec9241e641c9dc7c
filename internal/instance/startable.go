package instance

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
)

// What liblxc only refuses when the instance starts is refused here, when it is set. It goes as far as can be known beforehand: a filter
// may be well-formed and still forbid what the instance cannot do without.

// kernelLimits are the names that setrlimit's limits have in liblxc's configuration (lxc.container.conf(5), lxc.prlimit). It takes the
// kernel's numbers of them, too.
var kernelLimits = []string{"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
	"sigpending", "stack"}

// checkKernelLimits refuses limits of resources that the kernel does not know.
func checkKernelLimits(c map[string]string) error {
	for _, key := range config.Changed(nil, c) {
		name, ok := strings.CutPrefix(key, "limits.kernel.")
		if ok && !slices.Contains(kernelLimits, name) && config.IsUint32(name) != nil {
			return api.BadRequest("Unknown kernel limit %q (%s=%q; allowed: limits.kernel. and one of %s)", name, key, c[key], strings.Join(kernelLimits, ", "))
		}
	}
	return nil
}

// rlimit checks one limit or two, as soft:hard.
func rlimit(v string) error {
	soft, hard, both := strings.Cut(v, ":")
	softLimit, err := rlimitNumber(soft)
	hardLimit := softLimit
	if err == nil && both {
		hardLimit, err = rlimitNumber(hard)
	}
	if err != nil {
		return fmt.Errorf("Invalid kernel limit %q: must be a number or unlimited, or soft:hard", v)
	}
	if softLimit > hardLimit {
		return fmt.Errorf("Invalid kernel limit %q: the soft limit is above the hard one", v)
	}
	return nil
}

func rlimitNumber(v string) (uint64, error) {
	if v == "unlimited" {
		return math.MaxUint64, nil
	}
	return strconv.ParseUint(v, 10, 64)
}

// checkFilters refuses filters of system calls of which one would leave the others without an effect.
func checkFilters(c map[string]string) error {
	if c["security.syscalls.allow"] != "" && denies(c) {
		return api.BadRequest("security.syscalls.allow is mutually exclusive with security.syscalls.deny*")
	}
	return nil
}

// checkRawFilter refuses a whole filter beside others. An earlier version took both, and the others had no effect: what has them is started.
func checkRawFilter(c map[string]string) error {
	if c["raw.seccomp"] != "" && (c["security.syscalls.allow"] != "" || denies(c)) {
		return api.BadRequest("raw.seccomp is mutually exclusive with security.syscalls*")
	}
	return nil
}

func denies(c map[string]string) bool {
	return c["security.syscalls.deny"] != "" || config.IsTrue(c["security.syscalls.deny_default"])
}

// rawSeccomp checks a whole filter: a version, which way round the list is, and its rules (seccomp in lxc.container.conf(5)).
func rawSeccomp(v string) error {
	lines := strings.Split(v, "\n")
	switch version := strings.TrimSpace(lines[0]); {
	case version != "1" && version != "2":
		return fmt.Errorf("Invalid seccomp policy: line 1 is %q and not the version, 1 or 2", version)
	case len(lines) < 2:
		return errors.New("Invalid seccomp policy: line 2 is missing: allowlist or denylist")
	case version == "1":
		if !strings.HasPrefix(lines[1], "allowlist") {
			return fmt.Errorf("Invalid seccomp policy: line 2 is %q: version 1 has allowlist only", lines[1])
		}
		return nil
	}
	for _, style := range []string{"allowlist", "denylist", "whitelist", "blacklist"} {
		if !strings.HasPrefix(lines[1], style) {
			continue
		}
		if err := seccompAction(lines[1]); err != nil {
			return fmt.Errorf("Invalid seccomp policy: line 2: %w", err)
		}
		return seccompRules(lines[2:], 3)
	}
	return fmt.Errorf("Invalid seccomp policy: line 2 is %q and neither allowlist nor denylist", lines[1])
}

// seccompLines checks what stands in security.syscalls.allow and deny: rules alone.
func seccompLines(v string) error {
	return seccompRules(strings.Split(strings.TrimSpace(v), "\n"), 1)
}

// seccompRules checks lines of which the first is counted as number first. Calls that liblxc does not know it passes over, with a line in the
// instance's log, so they are none of what is refused.
func seccompRules(lines []string, first int) error {
	for n, line := range lines {
		line = strings.TrimRight(line, "\r")
		if line == "" || line[0] == '#' || line[0] == '[' && strings.Contains(line, "]") {
			continue
		}
		err := error(nil)
		if line[0] == '[' {
			err = fmt.Errorf("%q is no architecture", line)
		} else {
			err = seccompAction(line)
		}
		if err != nil {
			return fmt.Errorf("Invalid seccomp policy: line %d: %w", n+first, err)
		}
	}
	return nil
}

// largestErrno is the largest number that a filter can make a call fail with: MAX_ERRNO of the kernel.
const largestErrno = 4095

// seccompAction checks what is to become of the call that a line begins with; liblxc reads no further than it must.
func seccompAction(line string) error {
	_, action, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	action = strings.TrimLeft(action, " ")
	if action == "" || action[0] == '#' {
		return nil
	}
	if number, ok := strings.CutPrefix(action, "errno"); ok {
		number = strings.TrimLeft(number, " ")
		digits := number[:len(number)-len(strings.TrimLeft(number, "0123456789"))]
		if n, err := strconv.Atoi(digits); err != nil || n > largestErrno {
			return fmt.Errorf("%q has no number of an error (0 to %d)", action, largestErrno)
		}
		return nil
	}
	for _, known := range []string{"kill", "allow", "trap", "notify"} {
		if strings.HasPrefix(action, known) {
			return nil
		}
	}
	return fmt.Errorf("%q is no action (allowed: kill, errno NUMBER, allow, trap, notify)", action)
}
