package hostinfo

import (
	"os"
	"path/filepath"
	"strings"
)

// Warning says what this host does not provide, and what follows from that.
type Warning struct{ Type, Message string }

// Warnings lists what this host does not provide. The types are the API's sentences.
func Warnings() []Warning {
	var list []Warning
	for _, c := range []struct{ v1, v2, kind, message string }{
		{"memory/memory.limit_in_bytes", "memory", "Couldn't find the CGroup memory controller", "memory limits will be ignored"},
		{"pids", "pids", "Couldn't find the CGroup pids controller", "process limits will be ignored"},
		{"cpu", "cpu", "Couldn't find the CGroup CPU controller", "CPU time limits will be ignored"},
		{"cpuset", "cpuset", "Couldn't find the CGroup CPUset controller", "CPU pinning will be ignored"},
		{"freezer", "", "Couldn't find the CGroup freezer controller", "pausing/resuming containers won't work"},
		{"blkio/blkio.weight", "io", "Couldn't find the CGroup blkio.weight", "disk priority will be ignored"},
		{"net_prio", "", "Couldn't find the CGroup network priority controller", "network priority will be ignored"},
	} {
		if !hasController(c.v1, c.v2) {
			list = append(list, Warning{c.kind, c.message})
		}
	}
	return list
}

// hasController looks for a file or folder of a version 1 hierarchy, and for a controller of the unified one. What has
// no name in version 2 is part of it, or replaced, there.
func hasController(v1, v2 string) bool {
	const root = "/sys/fs/cgroup"
	if exists(filepath.Join(root, v1)) {
		return true
	}
	for _, file := range []string{root + "/cgroup.controllers", root + "/unified/cgroup.controllers"} {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if v2 == "" && strings.HasPrefix(file, root+"/cgroup.") {
			return true
		}
		for _, name := range strings.Fields(string(data)) {
			if name == v2 {
				return true
			}
		}
	}
	return false
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
