package instance

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
)

// refusedRaw is a line that the fake runtime does not understand.
const refusedRaw = "lxc.nosuch.key = 1"

func (*fakeRuntime) CheckRaw(_ context.Context, raw string) error {
	if raw == refusedRaw {
		return api.BadRequest("Failed to load raw.lxc: liblxc refuses it")
	}
	return nil
}

// TestWhatCannotStartIsRefusedWhereItIsSet: of instances and of profiles, with the key.
func TestWhatCannotStartIsRefusedWhereItIsSet(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	for key, value := range map[string]string{
		"raw.seccomp": "foo", "security.syscalls.allow": "read foo", "security.syscalls.deny": "mount errno zz", "limits.kernel.nosuch": "1", "limits.kernel.NOFILE": "1",
		"limits.kernel.nofile": "10:5", "limits.kernel.nproc": "unlimited:5", "limits.kernel.as": "18446744073709551616", "limits.kernel.nofile.x": "1", "limits.kernel.16": "1", "limits.kernel.core": "-2", "raw.lxc": refusedRaw,
	} {
		config := map[string]string{key: value}
		if key == "security.syscalls.allow" {
			config["security.syscalls.deny_default"] = "false"
		}
		for door, err := range map[string]error{
			"instance": h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: config}, func(string) bool { return false }, anyRevision),
			"profile":  h.profiles.Create(t.Context(), "default", api.ProfilesPost{Name: "p", ProfilePut: api.ProfilePut{Config: config}}),
		} {
			if api.StatusOf(err) != 400 || err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s: %s=%q: %v", door, key, value, err)
			}
		}
	}
	h.do(h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: map[string]string{
		"limits.kernel.nofile": "5:10", "limits.kernel.6": "100", "limits.kernel.as": "unlimited", "limits.kernel.nproc": "5:unlimited",
		"limits.kernel.core": "-1", "limits.kernel.memlock": "1000: 2000", "limits.kernel.15": "5:-1",
	}}, func(string) bool { return false }, anyRevision))
}

// TestFiltersExcludeEachOther: also where one is the profile's. What an earlier version took is changed otherwise and started.
func TestFiltersExcludeEachOther(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	const raw = "raw.seccomp is mutually exclusive with security.syscalls*"
	patch := func(c map[string]string) error {
		return h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: c}, func(string) bool { return false }, anyRevision)
	}
	for key, value := range map[string]string{"security.syscalls.allow": "read", "security.syscalls.deny": "mount", "security.syscalls.deny_default": "true"} {
		config := map[string]string{"raw.seccomp": "2\ndenylist", key: value}
		for door, err := range map[string]error{
			"instance": patch(config),
			"profile":  h.profiles.Create(t.Context(), "default", api.ProfilesPost{Name: "p", ProfilePut: api.ProfilePut{Config: config}}),
		} {
			if api.StatusOf(err) != 400 || err == nil || !strings.HasSuffix(err.Error(), raw) {
				t.Errorf("%s: %s: %v", door, key, err)
			}
		}
	}
	err := h.profiles.Create(t.Context(), "default", api.ProfilesPost{Name: "p", ProfilePut: api.ProfilePut{Config: map[string]string{
		"security.syscalls.allow": "read", "security.syscalls.deny": "write",
	}}})
	if api.StatusOf(err) != 400 {
		t.Errorf("allow and deny in a profile: %v", err)
	}
	h.do(patch(map[string]string{"raw.seccomp": "2\ndenylist", "security.syscalls.deny_default": "false"}))
	h.do(h.profiles.Patch(t.Context(), "default", "empty", api.ProfilePut{Config: map[string]string{"security.syscalls.deny": "mount"}}, false, anyRevision))
	if err := h.run(h.Put(t.Context(), "default", "c1", api.InstancePut{Config: h.show("c1").Config, Profiles: []string{"default", "empty"}}, anyRevision)); err == nil || !strings.HasSuffix(err.Error(), raw) {
		t.Errorf("one of the profile's: %v", err)
	}
	h.do(h.modify(t.Context(), "default", "c1", func(i *Instance) error {
		i.Profiles = []string{"default", "empty"}
		return nil
	}))
	h.do(patch(map[string]string{"user.a": "1"}))
	h.do(h.run(h.Create(t.Context(), "default", api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1"}})))
	h.do(h.run(h.SetState(t.Context(), "default", "c1", api.InstanceStatePut{Action: "start"})))
}

// TestANewInstanceIsCheckedWithTheProfilesThatItGets, which may have changed between the request and its turn.
func TestANewInstanceIsCheckedWithTheProfilesThatItGets(t *testing.T) {
	h := newHouse(t, nil)
	h.profile("p", nil, nil)
	req := api.InstancesPost{Name: "c1", Source: api.InstanceSource{Type: "none"}}
	req.Config, req.Profiles = map[string]string{"raw.seccomp": "2\ndenylist"}, []string{"default", "p"}
	task, err := h.Create(t.Context(), "default", req)
	h.do(err)
	h.do(h.putProfile("p", map[string]string{"security.syscalls.deny": "mount"}, nil))
	if err := h.run(task, nil); api.StatusOf(err) != http.StatusBadRequest || !strings.Contains(err.Error(), "mutually exclusive") {
		t.Errorf("with what its profile has by now: %v", err)
	}
	if _, there := h.instances.Get("default", "c1"); there {
		t.Error("it is there all the same")
	}
	h.nothingLeft()
}

// TestARefreshIsCheckedWithTheSourceThatItFinds: what the request adds to the source's configuration is looked at as for a new instance, when
// its turn comes too; what the source has is taken.
func TestARefreshIsCheckedWithTheSourceThatItFinds(t *testing.T) {
	h := newHouse(t, nil)
	h.create("src", nil)
	refresh := func(config map[string]string) (*operation.Task, error) {
		req := api.InstancesPost{Name: "dst", Source: api.InstanceSource{Type: "copy", Source: "src", Refresh: true}}
		req.Config = config
		return h.Create(t.Context(), "default", req)
	}
	h.do(h.run(refresh(nil)))
	task, err := refresh(map[string]string{"security.syscalls.deny": "mount"})
	h.do(err)
	raw := api.InstancePut{Config: map[string]string{"raw.seccomp": "2\ndenylist"}}
	h.do(h.Patch(t.Context(), "default", "src", raw, func(string) bool { return false }, anyRevision))
	if err := h.run(task, nil); api.StatusOf(err) != http.StatusBadRequest || !strings.Contains(err.Error(), "mutually exclusive") {
		t.Errorf("asked for both: %v", err)
	}
	row, err := h.get("default", "src")
	h.do(err)
	next := row.Value.clone()
	next.Config["security.syscalls.deny"] = "mount" // as an earlier version took it
	_, err = h.Store.Commit(t.Context(), h.instances.Replace(row, next))
	h.do(err)
	h.do(h.run(refresh(nil)))
	h.nothingLeft()
}
