package cgroup

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
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
	dir := root + "/" + g.name
	if v2 {
		usage, err := readInt(dir + "/memory.current")
		if err != nil {
			return Memory{}, err
		}
		return Memory{
			Usage: usage, Peak: optional(dir, "memory.peak"),
			Swap: optional(dir, "memory.swap.current"), SwapPeak: optional(dir, "memory.swap.peak"),
		}, nil
	}
	usage, err := readInt(dir + "/memory.usage_in_bytes")
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
	n, err := readInt(root + "/" + g.name + "/" + file)
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
		return readInt(root + "/" + g.name + "/cpuacct.usage")
	}
	var buf [1024]byte // the line is the first
	raw, err := readFile(root+"/"+g.name+"/cpu.stat", buf[:])
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n * 1000, err
		}
	}
	return 0, errors.New("cpu.stat without usage_usec")
}

// Pids counts processes and threads.
func (g Group) Pids() (int64, error) {
	root, _ := g.host.dir("pids")
	if root == "" {
		return 0, errors.New("no pids controller on this host")
	}
	return readInt(root + "/" + g.name + "/pids.current")
}

func optional(dir, file string) int64 {
	n, err := readInt(dir + "/" + file)
	if err != nil {
		return 0
	}
	return n
}

func readInt(path string) (int64, error) {
	var buf [64]byte
	raw, err := readFile(path, buf[:])
	if err != nil {
		return 0, err
	}
	value := string(bytes.TrimSpace(raw))
	if value == "max" {
		return 1 << 62, nil
	}
	return strconv.ParseInt(value, 10, 64)
}

// readFile reads the beginning of a kernel's file into buf, with three system calls: a list of all instances reads
// several files of each, and os.ReadFile takes twice as many.
func readFile(path string, buf []byte) ([]byte, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := retry(func() (int, error) { return unix.Read(fd, buf) })
	if err != nil {
		return nil, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return buf[:n], nil
}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
