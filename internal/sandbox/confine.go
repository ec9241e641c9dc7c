package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Nobody is the user and group that everything confined runs as: the kernel's overflow IDs, which own nothing.
const Nobody = 65534

func trim(s string) string { return strings.TrimSpace(s) }

// ParseLimits reads the first argument of berth-sandbox.
func ParseLimits(arg string) (Limits, error) {
	var l Limits
	if err := json.Unmarshal([]byte(arg), &l); err != nil {
		return Limits{}, fmt.Errorf("limits: %w", err)
	}
	if l.Memory <= 0 || l.CPU <= 0 || l.Output < 0 {
		return Limits{}, errors.New("limits: memory and CPU time must be above zero")
	}
	return l, nil
}

// Confine gives up, for good, all that a parser does not need. The order matters: what needs root comes first, and the filter of
// system calls comes last.
func Confine(l Limits, kind Kind) error {
	if err := setLimits(l); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := becomeNobody(); err != nil {
			return err
		}
	}
	// On every thread. With no_new_privs, set-user-ID programs give no rights, and a process without rights may set a seccomp filter.
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("no new privileges: %w", errno)
	}
	return filterCalls(kind)
}

func becomeNobody() error {
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("drop groups: %w", err)
	}
	if err := syscall.Setresgid(Nobody, Nobody, Nobody); err != nil {
		return fmt.Errorf("change group: %w", err)
	}
	if err := syscall.Setresuid(Nobody, Nobody, Nobody); err != nil {
		return fmt.Errorf("change user: %w", err)
	}
	return nil
}

// setLimits sets hard limits. Memory is RLIMIT_DATA, all private writable memory (setrlimit(2)): the whole address space is no measure
// of what a program uses, as runtimes and allocators reserve much more than they touch. It is bounded too, at a multiple,
// for what the other does not count.
func setLimits(l Limits) error {
	for _, r := range []struct {
		what  int
		limit uint64
	}{
		{unix.RLIMIT_DATA, uint64(l.Memory)},
		{unix.RLIMIT_AS, uint64(l.Memory)*2 + 2<<30},
		{unix.RLIMIT_CPU, max(uint64(l.CPU.Seconds()), 1)},
		{unix.RLIMIT_FSIZE, uint64(l.Output)},
		{unix.RLIMIT_NOFILE, 64},
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_MEMLOCK, 0},
		{unix.RLIMIT_MSGQUEUE, 0},
	} {
		if err := syscall.Setrlimit(r.what, &syscall.Rlimit{Cur: r.limit, Max: r.limit}); err != nil {
			return fmt.Errorf("set limit %d to %d: %w", r.what, r.limit, err)
		}
	}
	return nil
}
