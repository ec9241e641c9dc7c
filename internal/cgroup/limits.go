package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/berthd/berth/internal/spec"
)

// Setting is one value of one file of a group.
type Setting struct {
	Controller string // as v1 names it
	V2         bool
	File       string
	Value      string
}

// Settings are the writes that bring a group without limits to c: what a host cannot limit is left out and named
// in missing.
func (h *Host) Settings(c spec.Cgroup) (set []Setting, missing []string) {
	return h.settings(c, false)
}

// settings lists the writes; with reset it also writes "no limit" for what c leaves empty.
func (h *Host) settings(c spec.Cgroup, reset bool) (set []Setting, missing []string) {
	add := func(key, controller, v1, v2 string, value func(v2 bool) string, wanted bool) {
		if !wanted && !reset {
			return
		}
		dir, isV2 := h.dir(controller)
		file := v1
		if isV2 {
			file = v2
		}
		text := value(isV2)
		if dir == "" || file == "" || !h.offers(dir, file) {
			if wanted {
				missing = append(missing, key)
			}
			return
		}
		if text != "" {
			set = append(set, Setting{controller, isV2, file, text})
		}
	}
	add("limits.memory", "memory", "memory.limit_in_bytes", "memory.max", number(c.MemoryLimit, "-1"), c.MemoryLimit != nil)
	add("limits.memory", "memory", "memory.soft_limit_in_bytes", "memory.high", number(c.MemorySoft, "-1"), c.MemorySoft != nil)
	add("limits.memory.swap", "memory", "memory.memsw.limit_in_bytes", "", number(c.SwapLimit, "-1"), c.SwapLimit != nil && !h.isV2("memory"))
	add("limits.memory.swap", "memory", "", "memory.swap.max", swapMax(c), c.NoSwap && h.isV2("memory"))
	add("limits.memory.swap.priority", "memory", "memory.swappiness", "", swappiness(c), c.Swappiness != nil || c.NoSwap && !h.isV2("memory"))
	add("limits.processes", "pids", "pids.max", "pids.max", number(c.Pids, "max"), c.Pids != nil)
	add("limits.cpu", "cpuset", "cpuset.cpus", "cpuset.cpus", h.cpus(c.CPUSet), c.CPUSet != "")
	add("limits.cpu.priority", "cpu", "cpu.shares", "cpu.weight", shares(c), c.CPUShares != nil)
	add("limits.cpu.allowance", "cpu", "cpu.cfs_period_us", "", period(c.CPUQuota), c.CPUQuota != nil && !h.isV2("cpu"))
	add("limits.cpu.allowance", "cpu", "cpu.cfs_quota_us", "cpu.max", quota(c.CPUQuota), c.CPUQuota != nil)
	add("limits.disk.priority", "blkio", h.blkioFile(), "io.weight", weight(c.BlkioWeight, h.blkioFile()), c.BlkioWeight != nil)
	add("limits.network.priority", "net_prio", "net_prio.ifpriomap", "", func(bool) string { return "" }, c.NetworkPriority != nil)
	return set, missing
}

func (h *Host) isV2(controller string) bool {
	_, v2 := h.dir(controller)
	return v2
}

const bfqWeight = "blkio.bfq.weight"

func (h *Host) blkioFile() string {
	if dir := h.v1["blkio"]; dir != "" && !exists(filepath.Join(dir, "blkio.weight")) {
		return bfqWeight
	}
	return "blkio.weight"
}

// always are files that a group has wherever its controller is there; others depend on how the kernel was built.
var always = map[string]bool{
	"memory.max": true, "memory.high": true, "pids.max": true, "cpuset.cpus": true, "cpu.weight": true, "cpu.max": true,
}

// offers tells whether groups have a file. The group at the top lacks many; then any group below speaks for all, or a new one if there is none.
func (h *Host) offers(dir, file string) bool {
	if always[file] || exists(filepath.Join(dir, file)) {
		return true
	}
	below, _ := filepath.Glob(filepath.Join(dir, "*", file))
	if len(below) > 0 {
		return true
	}
	probe, err := os.MkdirTemp(dir, "berth-probe-")
	if err != nil {
		return false
	}
	defer func() { _ = os.Remove(probe) }()
	return exists(filepath.Join(probe, file))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func number(n *int64, none string) func(bool) string {
	return func(v2 bool) string {
		switch {
		case n != nil:
			return strconv.FormatInt(*n, 10)
		case v2 && none == "-1":
			return "max"
		}
		return none
	}
}

// swapMax is how much of its memory a group may have in swap; v2 counts that alone, without memory.
func swapMax(c spec.Cgroup) func(bool) string {
	return func(bool) string {
		if c.NoSwap {
			return "0"
		}
		return "max"
	}
}

// swappiness is all that v1 has to keep memory out of swap: an inclination.
func swappiness(c spec.Cgroup) func(bool) string {
	if c.NoSwap {
		return number(new(int64), "")
	}
	return number(c.Swappiness, "60")
}

// cpus are all, by name, where set is empty: neither version takes an empty list for a group with processes (ENOSPC).
func (h *Host) cpus(set string) func(bool) string {
	return func(bool) string {
		if set != "" {
			return set
		}
		dir, _ := h.dir("cpuset")
		for _, file := range []string{"cpuset.effective_cpus", "cpuset.cpus.effective", "cpuset.cpus"} {
			if raw, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
				return strings.TrimSpace(string(raw))
			}
		}
		return ""
	}
}

// shares are relative: v1 counts 2 to 262144 with 1024 as usual, v2 1 to 10000 with 100.
func shares(c spec.Cgroup) func(bool) string {
	return func(v2 bool) string {
		switch {
		case v2 && c.CPUWeight != nil:
			return strconv.FormatInt(min(10000, max(1, *c.CPUWeight)), 10)
		case v2:
			return "100"
		}
		return number(c.CPUShares, "1024")(v2)
	}
}

func period(q *spec.Quota) func(bool) string {
	return func(bool) string {
		if q == nil {
			return "100000"
		}
		return strconv.FormatInt(q.Period.Microseconds(), 10)
	}
}

func quota(q *spec.Quota) func(bool) string {
	return func(v2 bool) string {
		switch {
		case v2 && q == nil:
			return "max 100000"
		case v2:
			return fmt.Sprintf("%d %d", q.Quota.Microseconds(), q.Period.Microseconds())
		case q == nil:
			return "-1"
		}
		return strconv.FormatInt(q.Quota.Microseconds(), 10)
	}
}

// weight is 10 to 1000 with 500 as usual in v1, 1 to 10000 with 100 as usual in v2. The scheduler bfq has its own file in v1, with 100 as usual
// (Documentation/block/bfq-iosched.rst).
func weight(n *int64, file string) func(bool) string {
	return func(v2 bool) string {
		switch {
		case n != nil && v2:
			return "default " + strconv.FormatInt(max(1, *n*100/500), 10)
		case n != nil:
			return strconv.FormatInt(*n, 10)
		case v2:
			return "default 100"
		case file == bfqWeight:
			return "100"
		}
		return "500"
	}
}

// SetCPUs gives a group other CPUs and leaves its other limits alone.
func (g Group) SetCPUs(set string) error {
	all, missing := g.host.settings(spec.Cgroup{CPUSet: set}, false)
	if len(missing) > 0 {
		return nil
	}
	var err error
	for _, s := range all {
		err = errors.Join(err, g.apply(s))
	}
	return err
}

func (g Group) apply(s Setting) error {
	dir, _ := g.host.dir(s.Controller)
	return write(filepath.Join(dir, g.name, s.File), s.Value)
}
