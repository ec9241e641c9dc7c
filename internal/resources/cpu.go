package resources

import (
	"bufio"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/hostinfo"
)

// cpu sorts the threads the kernel knows into cores and sockets.
func (r reader) cpu() api.ResourcesCPU {
	out := api.ResourcesCPU{Architecture: hostinfo.Architectures()[0], Sockets: []api.ResourcesCPUSocket{}}
	models := r.cpuinfo()
	isolated := map[int]bool{}
	for _, id := range hostinfo.ParseCPUList(text(r.sys, "devices/system/cpu/isolated")) {
		isolated[id] = true
	}
	sockets := map[uint64]*api.ResourcesCPUSocket{}
	for _, id := range r.cpus() {
		dir := filepath.Join(r.sys, "devices/system/cpu", "cpu"+strconv.Itoa(id))
		thread := api.ResourcesCPUThread{ID: int64(id), NUMANode: node(dir), Isolated: isolated[id], Online: true}
		if exists(dir, "online") {
			thread.Online = text(dir, "online") == "1"
		}
		if thread.Online {
			out.Total++
		}
		number := number(dir, "topology/physical_package_id")
		socket := sockets[number]
		if socket == nil {
			m := models[id]
			socket = &api.ResourcesCPUSocket{Socket: number, Name: m.name, Vendor: m.vendor, Cache: caches(dir), Cores: []api.ResourcesCPUCore{}}
			socket.FrequencyMinimum, socket.FrequencyTurbo = mhz(dir, "cpuinfo_min_freq"), mhz(dir, "cpuinfo_max_freq")
			sockets[number] = socket
		}
		addThread(socket, dir, thread)
	}
	for _, s := range sockets {
		var sum, n uint64
		for _, c := range s.Cores {
			if c.Frequency > 0 {
				sum, n = sum+c.Frequency, n+1
			}
		}
		if n > 0 {
			s.Frequency = sum / n
		}
		out.Sockets = append(out.Sockets, *s)
	}
	sort.Slice(out.Sockets, func(i, j int) bool { return out.Sockets[i].Socket < out.Sockets[j].Socket })
	return out
}

func addThread(s *api.ResourcesCPUSocket, dir string, thread api.ResourcesCPUThread) {
	id, die := number(dir, "topology/core_id"), number(dir, "topology/die_id")
	for i := range s.Cores {
		if core := &s.Cores[i]; core.Core == id && core.Die == die {
			thread.Thread = uint64(len(core.Threads))
			core.Threads = append(core.Threads, thread)
			return
		}
	}
	s.Cores = append(s.Cores, api.ResourcesCPUCore{
		Core: id, Die: die, Frequency: mhz(dir, "scaling_cur_freq"), Threads: []api.ResourcesCPUThread{thread},
	})
}

func mhz(dir, file string) uint64 { return number(dir, "cpufreq", file) / 1000 }

// cpus lists the threads that the kernel has, in order.
func (r reader) cpus() []int {
	var ids []int
	for _, name := range names(r.sys, "devices/system/cpu") {
		if id, err := strconv.Atoi(strings.TrimPrefix(name, "cpu")); err == nil && strings.HasPrefix(name, "cpu") {
			if exists(r.sys, "devices/system/cpu", name, "topology") {
				ids = append(ids, id)
			}
		}
	}
	sort.Ints(ids)
	return ids
}

// node is the NUMA node a thread is on.
func node(dir string) uint64 {
	for _, name := range names(dir) {
		if n, err := strconv.ParseUint(strings.TrimPrefix(name, "node"), 10, 32); err == nil && strings.HasPrefix(name, "node") {
			return n
		}
	}
	return 0
}

func caches(dir string) []api.ResourcesCPUCache {
	var list []api.ResourcesCPUCache
	for _, name := range names(dir, "cache") {
		if !strings.HasPrefix(name, "index") {
			continue
		}
		size := text(dir, "cache", name, "size")
		unit := uint64(1)
		if s, ok := strings.CutSuffix(size, "K"); ok {
			size, unit = s, 1<<10
		} else if s, ok := strings.CutSuffix(size, "M"); ok {
			size, unit = s, 1<<20
		}
		n, _ := strconv.ParseUint(size, 10, 64)
		list = append(list, api.ResourcesCPUCache{
			Level: number(dir, "cache", name, "level"), Type: text(dir, "cache", name, "type"), Size: n * unit,
		})
	}
	return list
}

type cpuModel struct{ name, vendor string }

// cpuinfo reads names and vendors by thread from /proc/cpuinfo.
func (r reader) cpuinfo() map[int]cpuModel {
	models := map[int]cpuModel{}
	f, err := os.Open(filepath.Join(r.proc, "cpuinfo"))
	if err != nil {
		return models
	}
	defer f.Close()
	id := -1
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, maxFile)
	for scan.Scan() {
		key, value, _ := strings.Cut(scan.Text(), ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "processor":
			if id, err = strconv.Atoi(value); err != nil {
				id = -1
			}
		case "vendor_id":
			m := models[id]
			m.vendor = value
			models[id] = m
		case "model name", "cpu":
			m := models[id]
			m.name = value
			models[id] = m
		}
	}
	return models
}
