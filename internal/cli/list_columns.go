package cli

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/berthd/berth/api"
)

// listColumn is a column of the instance list.
type listColumn struct {
	column[*api.InstanceFull]
	needsState bool
}

func plainColumn(name string, cell func(*api.InstanceFull) string) listColumn {
	return listColumn{column: column[*api.InstanceFull]{name: name, cell: cell}}
}

func stateColumn(name string, cell func(*api.InstanceFull) string) listColumn {
	return listColumn{column: column[*api.InstanceFull]{name: name, cell: cell}, needsState: true}
}

func instanceColumns() map[rune]listColumn {
	return map[rune]listColumn{
		'4': stateColumn(T("IPV4"), func(i *api.InstanceFull) string { return addressCell(i, "inet") }),
		'6': stateColumn(T("IPV6"), func(i *api.InstanceFull) string { return addressCell(i, "inet6") }),
		'a': plainColumn(T("ARCHITECTURE"), func(i *api.InstanceFull) string { return i.Architecture }),
		'b': plainColumn(T("STORAGE POOL"), poolCell),
		'c': plainColumn(T("CREATED AT"), func(i *api.InstanceFull) string {
			return timeCell(i.CreatedAt.UTC().Unix(), i.CreatedAt.UTC().Format(layoutShort))
		}),
		'd': plainColumn(T("DESCRIPTION"), func(i *api.InstanceFull) string { return i.Description }),
		'D': stateColumn(T("DISK USAGE"), diskCell),
		'e': plainColumn(T("PROJECT"), func(i *api.InstanceFull) string { return i.Project }),
		'f': plainColumn(T("BASE IMAGE"), func(i *api.InstanceFull) string { return shortFingerprint(i.Config["volatile.base_image"]) }),
		'F': plainColumn(T("BASE IMAGE"), func(i *api.InstanceFull) string { return i.Config["volatile.base_image"] }),
		'l': plainColumn(T("LAST USED AT"), func(i *api.InstanceFull) string {
			return timeCell(i.LastUsedAt.UTC().Unix(), i.LastUsedAt.UTC().Format(layoutShort))
		}),
		'L': plainColumn(T("LOCATION"), func(i *api.InstanceFull) string { return i.Location }),
		'm': stateColumn(T("MEMORY USAGE"), memoryCell),
		'M': stateColumn(T("MEMORY USAGE%"), memoryPercentCell),
		'n': plainColumn(T("NAME"), func(i *api.InstanceFull) string { return i.Name }),
		'N': stateColumn(T("PROCESSES"), processesCell),
		'p': stateColumn(T("PID"), pidCell),
		'P': plainColumn(T("PROFILES"), func(i *api.InstanceFull) string { return strings.Join(i.Profiles, "\n") }),
		's': plainColumn(T("STATE"), func(i *api.InstanceFull) string { return strings.ToUpper(i.Status) }),
		'S': stateColumn(T("SNAPSHOTS"), func(i *api.InstanceFull) string { return strconv.Itoa(len(i.Snapshots)) }),
		't': plainColumn(T("TYPE"), typeCell),
		'u': stateColumn(T("CPU USAGE"), cpuCell),
	}
}

func timeCell(unix int64, text string) string {
	if unix <= 0 {
		return ""
	}
	return text
}

func typeCell(i *api.InstanceFull) string {
	name := T("CONTAINER")
	if i.Type == string(api.InstanceTypeVM) {
		name = T("VIRTUAL-MACHINE")
	}
	if i.Ephemeral {
		return fmt.Sprintf("%s (%s)", name, T("EPHEMERAL"))
	}
	return name
}

func poolCell(i *api.InstanceFull) string {
	for _, d := range i.ExpandedDevices {
		if d["type"] == "disk" && d["path"] == "/" {
			return d["pool"]
		}
	}
	return ""
}

func isActive(i *api.InstanceFull) bool {
	return i.State != nil && i.State.StatusCode != api.Stopped && i.State.Pid != 0
}

// addressCell lists global addresses of a family, last interface first, as lxc orders them.
func addressCell(i *api.InstanceFull, family string) string {
	if !isActive(i) {
		return ""
	}
	var out []string
	for name, nic := range i.State.Network {
		if nic.Type == "loopback" {
			continue
		}
		for _, a := range nic.Addresses {
			if a.Scope == "link" || a.Scope == "local" || a.Family != family {
				continue
			}
			out = append(out, fmt.Sprintf("%s (%s)", a.Address, name))
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(out)))
	return strings.Join(out, "\n")
}

func diskCell(i *api.InstanceFull) string {
	if i.State != nil && i.State.Disk["root"].Usage > 0 {
		return byteSizeIEC(i.State.Disk["root"].Usage, 2)
	}
	return ""
}

func memoryCell(i *api.InstanceFull) string {
	if isActive(i) && i.State.Memory.Usage > 0 {
		return byteSizeIEC(i.State.Memory.Usage, 2)
	}
	return ""
}

func memoryPercentCell(i *api.InstanceFull) string {
	limit := i.ExpandedConfig["limits.memory"]
	if !isActive(i) || limit == "" || i.State.Memory.Usage <= 0 || strings.HasSuffix(limit, "%") {
		return ""
	}
	total, err := parseSize(limit)
	if err != nil || total == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f%%", float64(i.State.Memory.Usage)/float64(total)*100)
}

func processesCell(i *api.InstanceFull) string {
	if isActive(i) {
		return strconv.FormatInt(i.State.Processes, 10)
	}
	return ""
}

func pidCell(i *api.InstanceFull) string {
	if isActive(i) {
		return strconv.FormatInt(i.State.Pid, 10)
	}
	return ""
}

func cpuCell(i *api.InstanceFull) string {
	if isActive(i) && i.State.CPU.Usage > 0 {
		return fmt.Sprintf("%ds", i.State.CPU.Usage/1000000000)
	}
	return ""
}

// parseListColumns turns shorthand characters and keys, separated by commas, into columns.
func parseListColumns(spec string) ([]listColumn, error) {
	known := instanceColumns()
	var out []listColumn
	for _, entry := range strings.Split(spec, ",") {
		if entry == "" {
			return nil, fmt.Errorf(T("No column between two commas, or before the first or after the last one, in '%s'"), spec)
		}
		if strings.ContainsAny(entry, ".:") {
			col, err := keyColumn(entry)
			if err != nil {
				return nil, err
			}
			out = append(out, col)
			continue
		}
		for _, r := range entry {
			col, ok := known[r]
			if !ok {
				return nil, fmt.Errorf(T("Unknown column shorthand char '%c' in '%s'"), r, entry)
			}
			out = append(out, col)
		}
	}
	return out, nil
}

// keyColumn makes a column from "[config:|devices:]key[:name][:maxWidth]".
func keyColumn(entry string) (listColumn, error) {
	fields := strings.Split(entry, ":")
	kind := "config"
	if fields[0] == "config" || fields[0] == "devices" {
		kind, fields = fields[0], fields[1:]
	}
	if len(fields) == 0 || len(fields) > 3 {
		return listColumn{}, fmt.Errorf(T("Invalid column '%s': it has more than a key, a header and a width"), entry)
	}
	key := fields[0]
	if kind == "devices" && !strings.Contains(key, ".") {
		return listColumn{}, fmt.Errorf(T("Invalid config key '%s' in '%s'"), key, entry)
	}
	name := strings.ToUpper(key)
	if len(fields) > 1 {
		if len(fields) == 2 && fields[1] == "" {
			return listColumn{}, fmt.Errorf(T("Invalid header in '%s': it may only be empty in front of a width"), entry)
		}
		if fields[1] != "" {
			name = fields[1]
		}
	}
	width := -1
	if len(fields) == 3 {
		n, err := strconv.ParseInt(fields[2], 10, 32)
		if err != nil {
			return listColumn{}, fmt.Errorf(T("Invalid width '%s' in '%s': it is not a whole number"), fields[2], entry)
		}
		if n < -1 {
			return listColumn{}, fmt.Errorf(T("Invalid width '%s' in '%s': -1, 0 and positive numbers are taken"), fields[2], entry)
		}
		if width = int(n); width == 0 {
			width = utf8.RuneCountInString(name)
		}
	}
	return plainColumn(name, func(i *api.InstanceFull) string { return cut(keyValue(i, kind, key), width) }), nil
}

func keyValue(i *api.InstanceFull, kind, key string) string {
	if kind == "config" {
		if v, ok := i.Config[key]; ok {
			return v
		}
		return i.ExpandedConfig[key]
	}
	device, option, _ := strings.Cut(key, ".")
	if d, ok := i.Devices[device]; ok {
		return d[option]
	}
	return i.ExpandedDevices[device][option]
}

func cut(s string, width int) string {
	if width >= 0 && utf8.RuneCountInString(s) > width {
		return string([]rune(s)[:width])
	}
	return s
}
