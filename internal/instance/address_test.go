package instance

import (
	"testing"

	"github.com/berthd/berth/api"
)

// TestARestoredCopyKeepsItsAddress: the snapshots that come with a copy do not bring the addresses of the original.
func TestARestoredCopyKeepsItsAddress(t *testing.T) {
	const address, of1, of2 = "volatile.eth0.hwaddr", "00:16:3e:00:00:0a", "00:16:3e:00:00:0b"
	h := newHouse(t, nil)
	h.create("c1", func(req *api.InstancesPost) {
		req.Devices = map[string]map[string]string{"eth0": {"type": "nic"}}
		req.Config = map[string]string{address: of1}
	})
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s0"})))
	copied := api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1"}}
	h.do(h.run(h.Create(t.Context(), "default", copied)))
	if got := h.show("c2").Config[address]; got == of1 {
		t.Fatalf("the copy has address %q", got)
	}
	set := api.InstancePut{Config: map[string]string{address: of2}}
	h.do(h.Patch(t.Context(), "default", "c2", set, func(string) bool { return false }, anyRevision))
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s1"})))
	copied.Source.Refresh = true
	h.do(h.run(h.Create(t.Context(), "default", copied)))
	for _, snap := range []string{"s0", "s1"} {
		h.do(h.run(h.Restore(t.Context(), "default", "c2", snap, anyRevision)))
		if got := h.show("c2").Config[address]; got != of2 {
			t.Errorf("restored from %s, the copy has address %q", snap, got)
		}
	}
	h.do(h.run(h.Restore(t.Context(), "default", "c1", "s0", anyRevision)))
	if got := h.show("c1").Config[address]; got != of1 {
		t.Errorf("restored, the original has address %q", got)
	}
}

// TestARestoreForgetsTheDevicesThatGo restores to before a NIC, and to after it.
func TestARestoreForgetsTheDevicesThatGo(t *testing.T) {
	h := newHouse(t, nil)
	snapshot := func(name string) {
		h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: name})))
	}
	h.create("c1", nil)
	snapshot("before")
	nic := api.InstancePut{Devices: map[string]map[string]string{"eth0": {"type": "nic"}}}
	h.do(h.Patch(t.Context(), "default", "c1", nic, func(string) bool { return false }, anyRevision))
	snapshot("after")
	for _, test := range []struct {
		snapshot string
		known    bool
	}{{"before", false}, {"after", true}} {
		h.do(h.run(h.Restore(t.Context(), "default", "c1", test.snapshot, anyRevision)))
		if _, got := h.nic.known["c1/eth0"]; got != test.known {
			t.Errorf("restored to %q, the NIC is known: %t", test.snapshot, got)
		}
	}
}

// TestDevicesGoByAnIdentityThatNobodyCanSet: what is on the host for one instance is not another's because both were given one
// volatile.uuid.
func TestDevicesGoByAnIdentityThatNobodyCanSet(t *testing.T) {
	h := newHouse(t, nil)
	for _, name := range []string{"c1", "c2"} {
		h.create(name, func(req *api.InstancesPost) {
			req.Devices = map[string]map[string]string{"eth0": {"type": "nic"}}
			req.Config = map[string]string{"volatile.uuid": "3f0b1c6e-0000-4000-8000-000000000001"}
		})
		h.do(h.action(name, "start"))
	}
	if one, other := h.nic.owners["c1/eth0"], h.nic.owners["c2/eth0"]; one == "" || one == other {
		t.Errorf("the NICs of c1 and c2 belong to %q and %q", one, other)
	}
}
