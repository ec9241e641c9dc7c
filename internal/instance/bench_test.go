package instance

import (
	"io"
	"log/slog"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/profile"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/spec"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

// busyState is the live state of a container with one NIC.
func busyState() *api.InstanceState {
	addresses := []api.InstanceStateNetworkAddress{
		{Family: "inet", Address: "10.77.1.9", Netmask: "24", Scope: "global"}, {Family: "inet6", Address: "fe80::216:3eff:fe00:1", Netmask: "64", Scope: "link"},
	}
	return &api.InstanceState{
		Status: "Running", StatusCode: api.Running, Pid: 1234, Processes: 3, CPU: api.InstanceStateCPU{Usage: 123456789},
		Disk: map[string]api.InstanceStateDisk{"root": {Usage: 1 << 20}}, Memory: api.InstanceStateMemory{Usage: 1 << 20, UsagePeak: 1 << 21},
		Network: map[string]api.InstanceStateNetwork{
			"lo":   {Addresses: addresses, State: "up", Type: "loopback", Mtu: 65536, Counters: api.NetworkCounters{BytesReceived: 1234, BytesSent: 1234}},
			"eth0": {Addresses: addresses, State: "up", Type: "broadcast", Mtu: 1500, Hwaddr: "00:16:3e:00:00:01", HostName: "veth12345678", Counters: api.NetworkCounters{BytesReceived: 12345678, BytesSent: 12345678}},
		},
	}
}

// listed is a service of 200 instances with so many snapshots each.
func listed(b *testing.B, each int, vary bool) *Service {
	st := store.New(store.NewMemory())
	b.Cleanup(func() { _ = st.Close() })
	locks, entries := &lock.Manager{}, journal.New(st)
	profiles := profile.New(st, nil, locks, entries, project.Single{})
	root := b.TempDir()
	rt := &fakeRuntime{state: map[string]api.StatusCode{}, exits: map[string]func(){}, specs: map[string]*spec.Spec{}, limits: map[string]spec.Cgroup{}}
	s := New(Deps{
		Root: root, Store: st, Journal: entries, Profiles: profiles, Runtime: rt, Locks: locks, Images: &fakeImages{}, Events: &recorder{},
		Volumes: &fakeVolumes{root: root, mounts: map[storage.VolumeID]int{}, table: store.NewTable[struct{}](st, "volumes")},
		Modules: map[string]device.Module{"disk": newFakeModule(), "nic": newFakeModule()},
		Host:    Host{IDs: idmap.Host{UID: idmap.Default, GID: idmap.Default}, CPUs: []int{0, 1}, MemoryTotal: 1 << 30, Arch: "x86_64"},
		Log:     slog.New(slog.DiscardHandler),
	})
	if err := st.Load(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	addHistoryOf(b, st, s.instances, s.snapshots, 200, each, vary)
	return s
}

// BenchmarkWriteList writes lists of 200 instances.
func BenchmarkWriteList(b *testing.B) {
	for _, c := range []struct {
		name string
		full bool
		each int
		vary bool
	}{
		{"recursion=1", false, 0, false}, {"recursion=2", true, 0, false}, {"recursion=2 of one snapshot each", true, 1, false},
		{"recursion=2 of 50000 snapshots", true, 250, false}, {"recursion=2 of 50000 varied snapshots", true, 250, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := listed(b, c.each, c.vary)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.WriteList(b.Context(), io.Discard, "default", c.full, anyType); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkView encodes what is kept of an instance between two changes.
func BenchmarkView(b *testing.B) {
	s := listed(b, 0, false)
	rows := s.rows("default")
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		s.newView(rows[n%len(rows)], 0)
	}
}

// BenchmarkState encodes live states.
func BenchmarkState(b *testing.B) {
	state := busyState()
	var to []byte
	b.ReportAllocs()
	for b.Loop() {
		to = appendState(to[:0], state)
	}
}
