// Package cgroup finds the control groups of instances on hosts with cgroup v1, v2 or both, reads their use, sets
// their limits, freezes and removes them.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Host is where the hierarchies are mounted.
type Host struct {
	v1      map[string]string // controller -> folder that groups of the top level lie in
	named   []string          // folders of hierarchies without a controller ("name=systemd")
	unified string            // cgroup v2, pure or next to v1; empty: none
	have    map[string]bool   // controllers that v2 offers
	all     []string          // folders of all hierarchies, each once
	some    hierarchy         // one of them

	prewarming atomic.Bool // see Prewarm
}

// Probe looks at the host that this process runs on.
func Probe() (*Host, error) {
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer func() { _ = mounts.Close() }()
	// liblxc puts the groups of containers that root starts below that of process 1.
	own, err := os.Open("/proc/1/cgroup")
	if err != nil {
		return nil, err
	}
	defer func() { _ = own.Close() }()
	return probe(mounts, own)
}

func probe(mounts, own io.Reader) (*Host, error) {
	base, err := parseOwn(own)
	if err != nil {
		return nil, err
	}
	h := &Host{v1: map[string]string{}, have: map[string]bool{}}
	s := bufio.NewScanner(mounts)
	for s.Scan() {
		root, dir, fstype, options, ok := parseMount(s.Text())
		if !ok {
			continue
		}
		switch fstype {
		case "cgroup":
			h.addV1(root, dir, options, base)
		case "cgroup2":
			h.some = hierarchy{dir: dir, root: root}
			if h.unified == "" {
				h.unified = below(dir, root, base[""])
			}
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if h.unified == "" && len(h.v1) == 0 {
		return nil, errors.New("no cgroup file system is mounted")
	}
	if h.unified != "" {
		raw, _ := os.ReadFile(filepath.Join(h.unified, "cgroup.controllers"))
		for name := range strings.FieldsSeq(string(raw)) {
			h.have[name] = true
		}
	}
	h.all = h.collect()
	return h, nil
}

func (h *Host) addV1(root, dir, options string, base map[string]string) {
	for option := range strings.SplitSeq(options, ",") {
		if h.some.dir == "" && (strings.HasPrefix(option, "name=") || controllers[option]) {
			h.some = hierarchy{dir: dir, root: root, key: option}
		}
		switch {
		case strings.HasPrefix(option, "name="):
			h.named = append(h.named, below(dir, root, base[option]))
		case controllers[option] && h.v1[option] == "":
			h.v1[option] = below(dir, root, base[option])
		}
	}
}

// controllers of cgroup v1, as mount options name them.
var controllers = map[string]bool{
	"blkio": true, "cpu": true, "cpuacct": true, "cpuset": true, "devices": true, "freezer": true, "hugetlb": true,
	"memory": true, "net_cls": true, "net_prio": true, "perf_event": true, "pids": true, "rdma": true, "misc": true,
}

// below is the folder of a group in a mount that shows the hierarchy from root on.
func below(dir, root, group string) string {
	rel, ok := strings.CutPrefix(group, strings.TrimSuffix(root, "/"))
	if !ok {
		rel = ""
	}
	return filepath.Join(dir, rel)
}

// parseOwn reads /proc/PID/cgroup: controller (or "name=…", or "" for v2) to group.
func parseOwn(in io.Reader) (map[string]string, error) {
	base := map[string]string{}
	s := bufio.NewScanner(in)
	for s.Scan() {
		fields := strings.SplitN(s.Text(), ":", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("malformed line of /proc/1/cgroup: %q", s.Text())
		}
		group := strings.TrimSuffix(fields[2], "/init.scope")
		for name := range strings.SplitSeq(fields[1], ",") {
			base[name] = group
		}
	}
	return base, s.Err()
}

// parseMount reads one line of mountinfo (proc_pid_mountinfo(5)).
func parseMount(line string) (root, dir, fstype, super string, ok bool) {
	left, right, found := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !found || len(l) < 6 || len(r) < 3 {
		return "", "", "", "", false
	}
	return unescape(l[3]), unescape(l[4]), r[0], r[2], true
}

var octal = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func unescape(s string) string { return octal.Replace(s) }

// Unified tells whether v2 is all there is.
func (h *Host) Unified() bool { return len(h.v1) == 0 && h.unified != "" }

// Layout is "cgroup", "cgroup2" or "hybrid".
func (h *Host) Layout() string {
	switch {
	case h.Unified():
		return "cgroup2"
	case h.unified != "":
		return "hybrid"
	}
	return "cgroup"
}

// dir is the folder of the hierarchy that manages a controller, and whether that is v2; empty: none does.
func (h *Host) dir(controller string) (string, bool) {
	if d := h.v1[controller]; d != "" {
		return d, false
	}
	v2 := controller
	switch controller {
	case "blkio":
		v2 = "io"
	case "cpuacct", "freezer":
		v2 = ""
	}
	if h.unified != "" && (v2 == "" || h.have[v2]) {
		return h.unified, true
	}
	return "", false
}

// Has tells whether a controller (named as in v1) can be used.
func (h *Host) Has(controller string) bool {
	d, _ := h.dir(controller)
	return d != ""
}

// roots are the folders of all hierarchies, each once.
func (h *Host) roots() []string { return h.all }

// principal is the folder of the one hierarchy that is asked where any would do: always the same. Empty: the host has none of these.
func (h *Host) principal() string {
	root := h.unified
	for _, c := range []string{"pids", "freezer", "devices", "memory"} {
		if root == "" {
			root = h.v1[c]
		}
	}
	return root
}

func (h *Host) collect() []string {
	seen := map[string]bool{}
	var out []string
	add := func(d string) {
		if d != "" && !seen[d] {
			seen[d] = true
			out = append(out, d)
		}
	}
	add(h.unified)
	for _, d := range h.v1 {
		add(d)
	}
	for _, d := range h.named {
		add(d)
	}
	return out
}

// List finds the groups of the top level whose name begins with prefix, in any hierarchy.
func (h *Host) List(prefix string) ([]string, error) {
	seen := map[string]bool{}
	var out []string
	for _, root := range h.roots() {
		entries, err := os.ReadDir(root)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() && strings.HasPrefix(e.Name(), prefix) && !seen[e.Name()] {
				seen[e.Name()] = true
				out = append(out, e.Name())
			}
		}
	}
	return out, nil
}

// Group is one control group, the same path in every hierarchy.
type Group struct {
	host *Host
	name string
}

// Group names a group of the top level.
func (h *Host) Group(name string) Group { return Group{h, name} }

// Exists tells whether the group is there in any hierarchy.
func (g Group) Exists() bool {
	for _, root := range g.host.roots() {
		if _, err := os.Stat(filepath.Join(root, g.name)); err == nil {
			return true
		}
	}
	return false
}

// TopProcs are the processes of the group itself in one hierarchy: cheap, and enough where a group has no others below.
func (g Group) TopProcs() ([]int, error) {
	folder := g.Folder()
	if folder == "" {
		return g.Procs()
	}
	return readPids(unix.AT_FDCWD, filepath.Join(folder, "cgroup.procs"))
}

// ignoreGone drops errors of groups that went away or, threaded ones, that have no list of processes.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.EOPNOTSUPP) {
		return nil
	}
	return err
}
