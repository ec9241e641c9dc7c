package instance

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/spec"
)

// cgroup compiles the limits.* keys. cpus are the CPUs the instance is to have, "" for all.
func cgroup(c map[string]string, cpus string, memoryTotal int64) (spec.Cgroup, error) {
	g := spec.Cgroup{CPUSet: cpus}
	if err := memory(&g, c, memoryTotal); err != nil {
		return g, err
	}
	shares, quota, err := parseAllowance(Keys.Get(c, "limits.cpu.allowance"))
	if err != nil {
		return g, err
	}
	g.CPUQuota = quota
	if c["limits.cpu.allowance"] != "" || c["limits.cpu.priority"] != "" {
		less := 10 - Keys.GetInt(c, "limits.cpu.priority")
		g.CPUShares = at(max(shares-less, 2))
		// In the coarser units of v2, a step of priority is a unit too: less would have no effect.
		g.CPUWeight = at(max((shares*100+512)/1024-less, 1))
	}
	if v := c["limits.processes"]; v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return g, fmt.Errorf("limits.processes: %w", err)
		}
		if n >= 0 {
			g.Pids = &n
		}
	}
	if c["limits.disk.priority"] != "" {
		g.BlkioWeight = at(max(Keys.GetInt(c, "limits.disk.priority")*100, 10))
	}
	if c["limits.network.priority"] != "" {
		g.NetworkPriority = at(Keys.GetInt(c, "limits.network.priority"))
	}
	return g, nil
}

func memory(g *spec.Cgroup, c map[string]string, total int64) error {
	swap := Keys.GetBool(c, "limits.memory.swap")
	if v := c["limits.memory"]; v != "" {
		limit, err := config.ParseSizeOrPercent(v, total)
		if err != nil {
			return fmt.Errorf("limits.memory: %w", err)
		}
		if Keys.Get(c, "limits.memory.enforce") == "soft" {
			g.MemorySoft = &limit
		} else {
			g.MemoryLimit = &limit
			if swap {
				// The limit is of memory and swap together, as LXD sets it.
				g.SwapLimit = at(limit)
			}
		}
	}
	switch {
	case !swap:
		g.NoSwap = true
	case c["limits.memory.swap.priority"] != "":
		g.Swappiness = at(60 - 10 + 10 - Keys.GetInt(c, "limits.memory.swap.priority"))
	}
	return nil
}

func at(n int64) *int64 { return &n }

// parseAllowance reads "50%" as cgroup v1 shares, or "25ms/100ms" as a quota.
func parseAllowance(v string) (shares int64, quota *spec.Quota, err error) {
	bad := fmt.Errorf("Invalid allowance: %s", v)
	if p, ok := strings.CutSuffix(v, "%"); ok {
		n, err := strconv.ParseInt(p, 10, 32)
		if err != nil || n < 0 {
			return 0, nil, bad
		}
		return n * 1024 / 100, nil, nil
	}
	q, p, ok := strings.Cut(v, "/")
	if !ok {
		return 0, nil, bad
	}
	var ms [2]int
	for i, part := range []string{q, p} {
		digits, ok := strings.CutSuffix(strings.TrimSpace(part), "ms")
		if !ok {
			return 0, nil, bad
		}
		if ms[i], err = strconv.Atoi(digits); err != nil || ms[i] <= 0 || ms[i] > 1e6 {
			return 0, nil, bad
		}
	}
	return 1024, &spec.Quota{Quota: time.Duration(ms[0]) * time.Millisecond, Period: time.Duration(ms[1]) * time.Millisecond}, nil
}

// maxCPU bounds what a range may name, far above what kernels are built for.
const maxCPU = 8192

// parseCPUs reads "1,3-5" as a sorted set without doubles.
func parseCPUs(v string) ([]int, error) {
	bad := fmt.Errorf("Invalid CPU limit syntax")
	seen := map[int]bool{}
	for _, part := range strings.Split(v, ",") {
		first, last, ranged := strings.Cut(part, "-")
		a, err := strconv.Atoi(first)
		if err != nil {
			return nil, bad
		}
		b := a
		if ranged {
			if b, err = strconv.Atoi(last); err != nil {
				return nil, bad
			}
		}
		if b < a || b > maxCPU {
			return nil, bad
		}
		for n := a; n <= b; n++ {
			seen[n] = true
		}
	}
	set := make([]int, 0, len(seen))
	for n := range seen {
		set = append(set, n)
	}
	sort.Ints(set)
	return set, nil
}

// formatCPUs writes a sorted set the way the kernel does: "0-1,3".
func formatCPUs(set []int) string {
	var parts []string
	for i := 0; i < len(set); {
		j := i
		for j+1 < len(set) && set[j+1] == set[j]+1 {
			j++
		}
		if i == j {
			parts = append(parts, strconv.Itoa(set[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", set[i], set[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// balance gives every instance its CPUs: those that name CPUs get them, those that ask for a number get the ones
// with the least on them. It is stable: the same demands give the same answer. Instances without a demand are
// left out.
func balance(demands map[string]string, cpus []int) map[string]string {
	load := map[int]int{}
	names := make([]string, 0, len(demands))
	for name := range demands {
		names = append(names, name)
	}
	sort.Strings(names)
	online := map[int]bool{}
	for _, n := range cpus {
		online[n] = true
	}
	result := map[string]string{}
	counts := map[string]int{}
	for _, name := range names {
		v := demands[name]
		if n, err := strconv.Atoi(v); err == nil {
			counts[name] = n
			continue
		}
		set, err := parseCPUs(v)
		if err != nil {
			continue
		}
		var pinned []int
		for _, n := range set {
			if online[n] {
				pinned = append(pinned, n)
				load[n]++
			}
		}
		result[name] = formatCPUs(pinned)
	}
	for _, name := range names {
		n, ok := counts[name]
		if !ok || n <= 0 || n >= len(cpus) {
			continue
		}
		order := append([]int(nil), cpus...)
		sort.SliceStable(order, func(i, j int) bool { return load[order[i]] < load[order[j]] })
		mine := order[:n]
		for _, cpu := range mine {
			load[cpu]++
		}
		sort.Ints(mine)
		result[name] = formatCPUs(mine)
	}
	return result
}
