package resources

import (
	"bufio"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
)

func (r reader) memory() (api.ResourcesMemory, error) {
	info, err := meminfo(filepath.Join(r.proc, "meminfo"))
	if err != nil {
		return api.ResourcesMemory{}, err
	}
	page := info["Hugepagesize"]
	r.blocks(info, filepath.Join(r.sys, "devices/system/memory"))
	out := api.ResourcesMemory{
		Total: info["MemTotal"], Used: used(info), HugepagesSize: page,
		HugepagesTotal: info["HugePages_Total"] * page,
		HugepagesUsed:  (info["HugePages_Total"] - info["HugePages_Free"]) * page,
	}
	nodes := filepath.Join(r.sys, "devices/system/node")
	for _, name := range names(nodes) {
		n, err := strconv.ParseUint(strings.TrimPrefix(name, "node"), 10, 32)
		if err != nil || !strings.HasPrefix(name, "node") {
			continue
		}
		info, err := meminfo(filepath.Join(nodes, name, "meminfo"))
		if err != nil {
			continue
		}
		r.blocks(info, filepath.Join(nodes, name))
		out.Nodes = append(out.Nodes, api.ResourcesMemoryNode{
			NUMANode: n, Total: info["MemTotal"], Used: used(info),
			HugepagesTotal: info["HugePages_Total"] * page,
			HugepagesUsed:  (info["HugePages_Total"] - info["HugePages_Free"]) * page,
		})
	}
	sort.Slice(out.Nodes, func(i, j int) bool { return out.Nodes[i].NUMANode < out.Nodes[j].NUMANode })
	return out, nil
}

// usedKey is where blocks keeps what was in use of the total that the kernel tells.
const usedKey = "(used)"

// blocks puts the memory that is plugged in, where the kernel tells it, in the place of what the kernel left of it for
// programs. Counters of single nodes can be behind.
func (r reader) blocks(info map[string]uint64, folder string) {
	size := hex(r.sys, "devices/system/memory/block_size_bytes")
	if size == 0 {
		return
	}
	var total uint64
	for _, name := range names(folder) {
		if rest, ok := strings.CutPrefix(name, "memory"); ok && rest != "" && text(folder, name, "online") == "1" {
			total += size
		}
	}
	if total > 0 {
		info[usedKey] = used(info)
		info["MemTotal"] = total
	}
}

// used is what programs take: caches can be had back.
func used(info map[string]uint64) uint64 {
	if known, ok := info[usedKey]; ok {
		return known
	}
	free := info["MemFree"] + info["Buffers"] + info["Cached"] + info["FilePages"] + info["SReclaimable"]
	if available, ok := info["MemAvailable"]; ok {
		free = available
	}
	if free > info["MemTotal"] {
		return 0
	}
	return info["MemTotal"] - free
}

// meminfo reads "Name: 123 kB" lines, in bytes; those of a node begin with "Node 0".
func meminfo(path string) (map[string]uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info := map[string]uint64{}
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		fields := strings.Fields(scan.Text())
		if len(fields) > 2 && fields[0] == "Node" {
			fields = fields[2:]
		}
		if len(fields) < 2 {
			continue
		}
		n, err := strconv.ParseUint(fields[1], 10, 64)
		if err != nil {
			continue
		}
		if len(fields) > 2 && fields[2] == "kB" {
			n <<= 10
		}
		info[strings.TrimSuffix(fields[0], ":")] = n
	}
	return info, scan.Err()
}
