package cgroup

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is what a group uses, in bytes; zero where the host does not count it.
type Memory struct {
	Usage, Peak, Swap, SwapPeak int64
}

// Memory reads the use of memory.
func (g Group) Memory() (Memory, error) {
	root, v2 := g.host.dir("memory")
	if root == "" {
		return Memory{}, errors.New("no memory controller on this host")
	}
	dir := filepath.Join(root, g.name)
	if v2 {
		usage, err := readInt(filepath.Join(dir, "memory.current"))
		if err != nil {
			return Memory{}, err
		}
		return Memory{
			Usage: usage, Peak: optional(dir, "memory.peak"),
			Swap: optional(dir, "memory.swap.current"), SwapPeak: optional(dir, "memory.swap.peak"),
		}, nil
	}
	usage, err := readInt(filepath.Join(dir, "memory.usage_in_bytes"))
	if err != nil {
		return Memory{}, err
	}
	m := Memory{Usage: usage, Peak: optional(dir, "memory.max_usage_in_bytes")}
	// v1 counts memory and swap together.
	if both := optional(dir, "memory.memsw.usage_in_bytes"); both > 0 {
		m.Swap = max(0, both-usage)
		m.SwapPeak = max(0, optional(dir, "memory.memsw.max_usage_in_bytes")-m.Peak)
	}
	return m, nil
}

// MemoryLimit is the limit that is set, in bytes; -1 for none.
func (g Group) MemoryLimit() int64 {
	root, v2 := g.host.dir("memory")
	file := "memory.limit_in_bytes"
	if v2 {
		file = "memory.max"
	}
	n, err := readInt(filepath.Join(root, g.name, file))
	if root == "" || err != nil || n >= 1<<62 {
		return -1
	}
	return n
}

// CPU is the time used, in nanoseconds.
func (g Group) CPU() (int64, error) {
	root, v2 := g.host.dir("cpuacct")
	if root == "" {
		return 0, errors.New("no CPU accounting on this host")
	}
	if !v2 {
		return readInt(filepath.Join(root, g.name, "cpuacct.usage"))
	}
	f, err := os.Open(filepath.Join(root, g.name, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if value, ok := strings.CutPrefix(s.Text(), "usage_usec "); ok {
			n, err := strconv.ParseInt(value, 10, 64)
			return n * 1000, err
		}
	}
	return 0, errors.Join(s.Err(), errors.New("cpu.stat without usage_usec"))
}

// Pids counts processes and threads.
func (g Group) Pids() (int64, error) {
	root, _ := g.host.dir("pids")
	if root == "" {
		return 0, errors.New("no pids controller on this host")
	}
	return readInt(filepath.Join(root, g.name, "pids.current"))
}

func optional(dir, file string) int64 {
	n, err := readInt(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	return n
}

func readInt(path string) (int64, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	value := strings.TrimSpace(string(raw))
	if value == "max" {
		return 1 << 62, nil
	}
	return strconv.ParseInt(value, 10, 64)
}
