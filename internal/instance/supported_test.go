package instance

import (
	"maps"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

// TestWhatHasNoEffectIsRefused: each door refuses the same keys, by name and with the reason.
func TestWhatHasNoEffectIsRefused(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	refused := func(door string, err error, key string) {
		t.Helper()
		if api.StatusOf(err) != 400 || err == nil || !strings.Contains(err.Error(), key+"=") || !strings.Contains(err.Error(), "not supported by this server: it ") {
			t.Errorf("%s: got %v (%d), want 400 that names %s and the reason", door, err, api.StatusOf(err), key)
		}
	}
	for key, value := range map[string]string{"cluster.evacuate": "stop", "security.devlxd": "true", "limits.network.priority": "5"} {
		config := map[string]string{key: value}
		for door, source := range map[string]api.InstanceSource{
			"create": {Type: "none"}, "copy": {Type: "copy", Source: "c1"},
		} {
			req := api.InstancesPost{Name: "c2", Source: source}
			req.Config = config
			_, err := h.Create(t.Context(), "default", req)
			refused(door, err, key)
		}
		refused("patch", h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: config}, func(string) bool { return false }, anyRevision), key)
		put := api.InstancePut{Config: maps.Clone(h.show("c1").Config), Profiles: []string{"default"}}
		put.Config[key] = value
		refused("put", h.run(h.Put(t.Context(), "default", "c1", put, anyRevision)), key)
		refused("profile", h.profiles.Create(t.Context(), "default", api.ProfilesPost{Name: "p", ProfilePut: api.ProfilePut{Config: config}}), key)
		refused("profile change", h.profiles.Patch(t.Context(), "default", "empty", api.ProfilePut{Config: config}, false, anyRevision), key)
	}
	idle := map[string]map[string]string{"d": {"type": "nic", "idle": "1"}}
	refused("device", h.Patch(t.Context(), "default", "c1", api.InstancePut{Devices: idle}, func(string) bool { return false }, anyRevision), "idle")
	refused("device of a profile", h.profiles.Patch(t.Context(), "default", "empty", api.ProfilePut{Devices: idle}, false, anyRevision), "idle")
	// What is as if it were not there may be said.
	h.do(h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: map[string]string{"security.devlxd": "false"}}, func(string) bool { return false }, anyRevision))
}

// TestInstanceAndProfileAreCheckedAlike: what nothing could come of is refused at the doors of both.
func TestInstanceAndProfileAreCheckedAlike(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	for want, config := range map[string]map[string]string{
		"user.user-data is not valid YAML: line 2, column 1: ":            {"user.user-data": "#cloud-config\n\ta: 1"},
		"cloud-init.network-config is not valid YAML: line 1, column 1: ": {"cloud-init.network-config": "\ta"},
		"cluster.evacuate=\"stop\" is not supported by this server: ":     {"cluster.evacuate": "stop"},
		"Unknown kernel limit \"nosuch\"":                                 {"limits.kernel.nosuch": "1"},
		"security.syscalls.allow is mutually exclusive with ":             {"security.syscalls.allow": "read", "security.syscalls.deny": "write"},
		"raw.seccomp is mutually exclusive with security.syscalls*":       {"raw.seccomp": "2\ndenylist", "security.syscalls.deny": "write"},
	} {
		create := api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "none"}}
		create.Config = config
		created := h.run(h.Create(t.Context(), "default", create))
		for door, err := range map[string]error{
			"create":         created,
			"patch":          h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: config}, func(string) bool { return false }, anyRevision),
			"profile":        h.profiles.Create(t.Context(), "default", api.ProfilesPost{Name: "p", ProfilePut: api.ProfilePut{Config: config}}),
			"profile change": h.profiles.Patch(t.Context(), "default", "empty", api.ProfilePut{Config: config}, false, anyRevision),
		} {
			if api.StatusOf(err) != 400 || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v (%d), want 400: %s", door, err, api.StatusOf(err), want)
			}
		}
	}
}

// TestARecordThatHoldsItGoesOn: what an earlier version took loads, starts, is changed otherwise, copied, kept and restored.
func TestARecordThatHoldsItGoesOn(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.do(h.modify(t.Context(), "default", "c1", func(i *Instance) error {
		i.Config["cluster.evacuate"] = "stop"
		i.Devices["d"] = map[string]string{"type": "nic", "idle": "1"}
		return nil
	}))
	h.do(h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "start"})))
	patch := func(c map[string]string) error {
		return h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: c}, func(string) bool { return false }, anyRevision)
	}
	h.do(patch(map[string]string{"user.a": "1"}))
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s"})))
	h.do(h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "stop", Force: true})))
	req := api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1"}}
	req.Config = h.show("c1").Config // as lxc sends it
	h.do(h.run(h.Create(t.Context(), "default", req)))
	if got := h.show("c2").Config["cluster.evacuate"]; got != "stop" {
		t.Errorf("the copy has %q", got)
	}
	if err := patch(map[string]string{"cluster.evacuate": "migrate"}); api.StatusOf(err) != 400 {
		t.Errorf("another value: %v", err)
	}
	h.do(patch(map[string]string{"cluster.evacuate": ""}))
	h.do(h.run(h.Restore(t.Context(), "default", "c1", "s", anyRevision)))
	if got := h.show("c1").Config["cluster.evacuate"]; got != "stop" {
		t.Errorf("after the restore it has %q", got)
	}
}

// TestAQuotaOutlivesItsContent: whatever takes the place of a root volume is held to the same size.
func TestAQuotaOutlivesItsContent(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", func(r *api.InstancesPost) {
		r.Devices = map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "p1", "size": "1GiB"}}
	})
	is := func(when string) {
		t.Helper()
		row, err := h.get("default", "c1")
		h.do(err)
		if got := h.volumes.quotas[h.volumes.Path(row.Value.volume())]; got != 1<<30 {
			t.Errorf("%s: the volume is held to %d bytes", when, got)
		}
	}
	is("new")
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s"})))
	h.do(h.run(h.Restore(t.Context(), "default", "c1", "s", anyRevision)))
	is("restored")
}
