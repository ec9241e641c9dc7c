package hostinfo

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// OnlineCPUs lists the CPUs that can be used, in order.
func OnlineCPUs() []int {
	data, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return []int{0}
	}
	return ParseCPUList(strings.TrimSpace(string(data)))
}

// ParseCPUList reads the kernel's lists: "0-3,8". What does not belong there is left out.
func ParseCPUList(text string) []int {
	var list []int
	for _, part := range strings.Split(text, ",") {
		first, last, ranged := strings.Cut(part, "-")
		a, err := strconv.Atoi(first)
		if err != nil {
			continue
		}
		b := a
		if ranged {
			if b, err = strconv.Atoi(last); err != nil || b-a > 1<<16 {
				continue
			}
		}
		for n := a; n <= b; n++ {
			list = append(list, n)
		}
	}
	return list
}

// MemoryTotal is the machine's memory in bytes.
func MemoryTotal() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit) // other widths on other machines
}
