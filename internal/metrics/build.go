package metrics

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/berthd/berth/internal/cgroup"
	"github.com/berthd/berth/internal/instance"
)

// builder gathers figures into families, which are shown in the order of their first figure.
type builder struct {
	order []*dto.MetricFamily
	known map[*series]*dto.MetricFamily
	names map[cgroup.DiskIO]string // of block devices, by their numbers
}

// add adds a figure with its labels: names and values by turns, names in order.
func (b *builder) add(s *series, value float64, labels ...string) {
	f := b.known[s]
	if f == nil {
		kind := dto.MetricType_GAUGE
		if s.counter {
			kind = dto.MetricType_COUNTER
		}
		f = &dto.MetricFamily{Name: proto.String(s.name), Help: proto.String(s.help), Type: &kind}
		if b.known == nil {
			b.known = map[*series]*dto.MetricFamily{}
		}
		b.known[s] = f
		b.order = append(b.order, f)
	}
	m := &dto.Metric{}
	for n := 0; n+1 < len(labels); n += 2 {
		m.Label = append(m.Label, &dto.LabelPair{Name: &labels[n], Value: &labels[n+1]})
	}
	if s.counter {
		m.Counter = &dto.Counter{Value: &value}
	} else {
		m.Gauge = &dto.Gauge{Value: &value}
	}
	f.Metric = append(f.Metric, m)
}

func (b *builder) families() []*dto.MetricFamily { return b.order }

func (b *builder) instance(m *instance.Metrics) {
	kind := string(m.Type)
	whose := []string{"name", m.Name, "project", m.Project, "type", kind}
	for _, t := range m.CPUs {
		cpu := strconv.Itoa(t.CPU)
		b.add(cpuSeconds, float64(t.System)/1e9, append([]string{"cpu", cpu, "mode", "system"}, whose...)...)
		b.add(cpuSeconds, float64(t.User)/1e9, append([]string{"cpu", cpu, "mode", "user"}, whose...)...)
	}
	if m.EffectiveCPUs > 0 {
		b.add(cpuEffective, float64(m.EffectiveCPUs), whose...)
	}
	for _, d := range m.Disks {
		of := append([]string{"device", b.deviceName(d)}, whose...)
		b.add(diskReadBytes, float64(d.ReadBytes), of...)
		b.add(diskReads, float64(d.Reads), of...)
		b.add(diskWrittenBytes, float64(d.WrittenBytes), of...)
		b.add(diskWrites, float64(d.Writes), of...)
	}
	if fs := m.Root; fs != nil {
		of := []string{"device", "", "fstype", fs.Type, "mountpoint", "/", "name", m.Name, "project", m.Project, "type", kind}
		b.add(fsAvail, float64(fs.Avail), of...)
		b.add(fsFree, float64(fs.Free), of...)
		b.add(fsSize, float64(fs.Size), of...)
	}
	b.memory(m, whose)
	b.networks(m, whose)
	b.add(processes, float64(m.Processes), whose...)
}

func (b *builder) memory(m *instance.Metrics, whose []string) {
	s, free := m.Memory, max(0, m.MemoryTotal-m.MemoryUsage)
	for _, f := range []struct {
		series *series
		value  int64
	}{
		{activeAnon, s.ActiveAnon},
		{activeFile, s.ActiveFile},
		{active, s.ActiveAnon + s.ActiveFile},
		{cached, s.Cached},
		{dirty, s.Dirty},
		{inactiveAnon, s.InactiveAnon},
		{inactiveFile, s.InactiveFile},
		{inactive, s.InactiveAnon + s.InactiveFile},
		{mapped, s.Mapped},
		{memAvailable, min(m.MemoryTotal, free+s.Cached)},
		{memFree, free},
		{memTotal, m.MemoryTotal},
		{oomKills, s.OOMKills},
		{rss, s.RSS},
		{shmem, s.Shmem},
		{swap, s.Swap},
		{unevictable, s.Unevictable},
		{writeback, s.Writeback},
	} {
		b.add(f.series, float64(f.value), whose...)
	}
}

// maxInterfaces bounds how many interfaces of one instance are shown: its root makes as many as it likes.
const maxInterfaces = 64

func (b *builder) networks(m *instance.Metrics, whose []string) {
	// Those that the host has an end of come first: they are the ones that were given to it.
	names := slices.SortedFunc(maps.Keys(m.Networks), func(x, y string) int {
		mine := func(name string) int {
			if m.Networks[name].HostName != "" {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(mine(x), mine(y)), cmp.Compare(x, y))
	})
	for _, name := range names[:min(len(names), maxInterfaces)] {
		c := m.Networks[name].Counters
		of := append([]string{"device", text(name)}, whose...)
		b.add(receivedBytes, float64(c.BytesReceived), of...)
		b.add(receiveDrops, float64(c.PacketsDroppedInbound), of...)
		b.add(receiveErrors, float64(c.ErrorsReceived), of...)
		b.add(receivedPackets, float64(c.PacketsReceived), of...)
		b.add(sentBytes, float64(c.BytesSent), of...)
		b.add(sendDrops, float64(c.PacketsDroppedOutbound), of...)
		b.add(sendErrors, float64(c.ErrorsSent), of...)
		b.add(sentPackets, float64(c.PacketsSent), of...)
	}
}

// text is a name that a guest has chosen as a label can hold it: one that is no UTF-8 would spoil all that is shown beside it.
func text(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return strings.Trim(strconv.QuoteToASCII(name), `"`)
}

// deviceName is the kernel's name of a block device ("sda"), or its numbers.
func (b *builder) deviceName(d cgroup.DiskIO) string {
	key := cgroup.DiskIO{Major: d.Major, Minor: d.Minor}
	if name, ok := b.names[key]; ok {
		return name
	}
	numbers := strconv.FormatUint(uint64(d.Major), 10) + ":" + strconv.FormatUint(uint64(d.Minor), 10)
	name := numbers
	if to, err := os.Readlink("/sys/dev/block/" + numbers); err == nil {
		name = filepath.Base(to)
	}
	if b.names == nil {
		b.names = map[cgroup.DiskIO]string{}
	}
	b.names[key] = name
	return name
}
