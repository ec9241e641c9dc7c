package cgroup

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hierarchy is a mount of one, and how /proc/PID/cgroup calls it: by a controller, "name=…", or nothing for v2.
type hierarchy struct {
	dir, root, key string
}

// Prewarm makes the move of a process to another group, which is to follow within a few milliseconds, quick. The first move
// in a while waits for a grace period of RCU (7 ms at 250 Hz: the kernel's cgroup_threadgroup_rwsem), those right after it
// do not. A move of this process to where it is already has the kernel wait for that while the caller prepares what it
// needs the next one for. It returns at once; that it fails is no matter.
func (h *Host) Prewarm() {
	if !h.prewarming.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer h.prewarming.Store(false)
		if procs := h.ownProcs(); procs != "" {
			_ = write(procs, "0")
		}
	}()
}

// ownProcs is the file that moves processes to the group of this process; empty where it cannot be told. It is looked up
// anew each time: whoever runs the host may move the daemon.
func (h *Host) ownProcs() string {
	f, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	return h.some.procs(f)
}

// procs finds a process's group in this hierarchy in its /proc/PID/cgroup.
func (m hierarchy) procs(groups io.Reader) string {
	for s := bufio.NewScanner(groups); s.Scan(); {
		fields := strings.SplitN(s.Text(), ":", 3)
		if len(fields) != 3 || !slices.Contains(strings.Split(fields[1], ","), m.key) {
			continue
		}
		if rel, ok := strings.CutPrefix(fields[2], strings.TrimSuffix(m.root, "/")); ok {
			return filepath.Join(m.dir, rel, "cgroup.procs")
		}
	}
	return ""
}
