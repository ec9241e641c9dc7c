package cgroup

import (
	"errors"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// CPUTime is the time that a group has used on one CPU, in nanoseconds.
type CPUTime struct {
	CPU          int
	User, System int64
}

// CPUTimes is the time used on each CPU. cgroup v2 counts it for all of them together: there it is all on CPU 0.
func (g Group) CPUTimes() ([]CPUTime, error) {
	root, v2 := g.host.dir("cpuacct")
	if root == "" {
		return nil, errors.New("no CPU accounting on this host")
	}
	dir := filepath.Join(root, g.name)
	if v2 {
		stat, err := keyed(dir, "cpu.stat")
		if err != nil {
			return nil, err
		}
		return []CPUTime{{User: stat["user_usec"] * 1000, System: stat["system_usec"] * 1000}}, nil
	}
	user, err := numbers(dir, "cpuacct.usage_percpu_user")
	if err != nil {
		return nil, err
	}
	system, err := numbers(dir, "cpuacct.usage_percpu_sys")
	if err != nil {
		return nil, err
	}
	times := make([]CPUTime, min(len(user), len(system)))
	for n := range times {
		times[n] = CPUTime{CPU: n, User: user[n], System: system[n]}
	}
	return times, nil
}

// MemoryStat is what the memory of a group is made of, in bytes.
type MemoryStat struct {
	ActiveAnon, ActiveFile, InactiveAnon, InactiveFile int64
	Cached, Dirty, Mapped, RSS, Shmem, Swap, Writeback int64
	Unevictable                                        int64
	OOMKills                                           int64 // a count
}

// memoryFields are the fields of memory.stat that a MemoryStat is filled from. Those of v1 count all groups below, too, as v2 does anyway.
var memoryFields = []struct {
	v1, v2 string
	field  func(*MemoryStat) *int64
}{
	{"total_active_anon", "active_anon", func(m *MemoryStat) *int64 { return &m.ActiveAnon }},
	{"total_active_file", "active_file", func(m *MemoryStat) *int64 { return &m.ActiveFile }},
	{"total_inactive_anon", "inactive_anon", func(m *MemoryStat) *int64 { return &m.InactiveAnon }},
	{"total_inactive_file", "inactive_file", func(m *MemoryStat) *int64 { return &m.InactiveFile }},
	{"total_cache", "file", func(m *MemoryStat) *int64 { return &m.Cached }},
	{"total_dirty", "file_dirty", func(m *MemoryStat) *int64 { return &m.Dirty }},
	{"total_mapped_file", "file_mapped", func(m *MemoryStat) *int64 { return &m.Mapped }},
	{"total_rss", "anon", func(m *MemoryStat) *int64 { return &m.RSS }},
	{"total_shmem", "shmem", func(m *MemoryStat) *int64 { return &m.Shmem }},
	{"total_swap", "", func(m *MemoryStat) *int64 { return &m.Swap }},
	{"total_writeback", "file_writeback", func(m *MemoryStat) *int64 { return &m.Writeback }},
	{"total_unevictable", "unevictable", func(m *MemoryStat) *int64 { return &m.Unevictable }},
}

// MemoryStat reads what the memory is made of.
func (g Group) MemoryStat() (MemoryStat, error) {
	var m MemoryStat
	root, v2 := g.host.dir("memory")
	if root == "" {
		return m, errors.New("no memory controller on this host")
	}
	dir := filepath.Join(root, g.name)
	stat, err := keyed(dir, "memory.stat")
	if err != nil {
		return m, err
	}
	for _, f := range memoryFields {
		name := f.v1
		if v2 {
			name = f.v2
		}
		*f.field(&m) = stat[name]
	}
	events := "memory.oom_control"
	if v2 {
		events = "memory.events"
		m.Swap = optional(dir, "memory.swap.current")
	}
	if counts, err := keyed(dir, events); err == nil { // a kernel without it counts none
		m.OOMKills = counts["oom_kill"]
	}
	return m, nil
}

// DiskIO is what a group has read from and written to one block device.
type DiskIO struct {
	Major, Minor            uint32
	ReadBytes, WrittenBytes int64
	Reads, Writes           int64
}

// DiskIO reads what the group has read and written, by device, in the kernel's order.
func (g Group) DiskIO() ([]DiskIO, error) {
	root, v2 := g.host.dir("blkio")
	if root == "" {
		return nil, errors.New("no block I/O controller on this host")
	}
	dir := filepath.Join(root, g.name)
	if v2 {
		raw, err := readAt(unix.AT_FDCWD, filepath.Join(dir, "io.stat"))
		return parseIOStat(string(raw)), err
	}
	moved, err := readAt(unix.AT_FDCWD, filepath.Join(dir, "blkio.throttle.io_service_bytes_recursive"))
	if err != nil {
		return nil, err
	}
	done, err := readAt(unix.AT_FDCWD, filepath.Join(dir, "blkio.throttle.io_serviced_recursive"))
	if err != nil {
		return nil, err
	}
	return parseBlkio(string(moved), string(done)), nil
}

// disks gathers figures by device.
type disks struct{ list []DiskIO }

// of finds the figures of a device, "8:0"; nil for what is not the name of one.
func (d *disks) of(name string) *DiskIO {
	major, minor, ok := strings.Cut(name, ":")
	a, errA := strconv.ParseUint(major, 10, 32)
	b, errB := strconv.ParseUint(minor, 10, 32)
	if !ok || errA != nil || errB != nil {
		return nil
	}
	for n := range d.list {
		if d.list[n].Major == uint32(a) && d.list[n].Minor == uint32(b) {
			return &d.list[n]
		}
	}
	d.list = append(d.list, DiskIO{Major: uint32(a), Minor: uint32(b)})
	return &d.list[len(d.list)-1]
}

// parseIOStat reads io.stat of v2: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …" for each device.
func parseIOStat(text string) []DiskIO {
	var d disks
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(line, " ")
		for field := range strings.FieldsSeq(rest) {
			key, value, _ := strings.Cut(field, "=")
			n, err := strconv.ParseInt(value, 10, 64)
			one := d.of(name)
			if one == nil || err != nil {
				continue
			}
			switch key {
			case "rbytes":
				one.ReadBytes = n
			case "wbytes":
				one.WrittenBytes = n
			case "rios":
				one.Reads = n
			case "wios":
				one.Writes = n
			}
		}
	}
	return d.list
}

// parseBlkio reads the two files of v1, with lines such as "8:0 Read 4096": bytes in one, operations in the other.
func parseBlkio(moved, done string) []DiskIO {
	var d disks
	each := func(text string, read, write func(*DiskIO) *int64) {
		for line := range strings.Lines(text) {
			fields := strings.Fields(line)
			if len(fields) != 3 {
				continue
			}
			n, err := strconv.ParseInt(fields[2], 10, 64)
			one := d.of(fields[0])
			switch {
			case one == nil || err != nil:
			case fields[1] == "Read":
				*read(one) = n
			case fields[1] == "Write":
				*write(one) = n
			}
		}
	}
	each(moved, func(d *DiskIO) *int64 { return &d.ReadBytes }, func(d *DiskIO) *int64 { return &d.WrittenBytes })
	each(done, func(d *DiskIO) *int64 { return &d.Reads }, func(d *DiskIO) *int64 { return &d.Writes })
	return d.list
}

// keyed reads a file of lines such as "anon 4096". What is no number is left out.
func keyed(dir, file string) (map[string]int64, error) {
	raw, err := readAt(unix.AT_FDCWD, filepath.Join(dir, file))
	if err != nil {
		return nil, err
	}
	values := map[string]int64{}
	for line := range strings.Lines(string(raw)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			values[key] = n
		}
	}
	return values, nil
}

// numbers reads a file of numbers on one line.
func numbers(dir, file string) ([]int64, error) {
	raw, err := readAt(unix.AT_FDCWD, filepath.Join(dir, file))
	if err != nil {
		return nil, err
	}
	var list []int64
	for field := range strings.FieldsSeq(string(raw)) {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

// EffectiveCPUs are the CPUs that the group may use, in the kernel's notation ("0-3,8"); empty where nothing says.
func (g Group) EffectiveCPUs() string {
	root, v2 := g.host.dir("cpuset")
	if root == "" {
		return ""
	}
	file := "cpuset.effective_cpus"
	if v2 {
		file = "cpuset.cpus.effective"
	}
	raw, err := readAt(unix.AT_FDCWD, filepath.Join(root, g.name, file))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}
