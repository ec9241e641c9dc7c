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

// TestSeccompTexts: what is refused is what liblxc 5.0.2 refused at the start, tried with each; what is taken, it took.
func TestSeccompTexts(t *testing.T) {
	for text, want := range map[string]string{
		"2\ndenylist": "", " 2 \ndenylist": "", "2\nblacklist\nmount errno 1": "", "2\nwhitelist\n[all]\nmount": "",
		"2\ndenylist errno 5\nmount": "", "2\nallowlist allow\nmount errno 1x": "", "2\ndenylist\nmount killx": "",
		"2\ndenylist\nmount trap\nopen notify": "", "2\ndenylist\n# why\n\nmount errno 1 # because": "",
		"2\ndenylist\n[x86]\nmount errno 1 [0,1,SCMP_CMP_EQ]": "", "2\r\ndenylist\r\nmount errno 1\r\n": "",
		"2\ndenylist\nreject_force_umount": "", "2\ndenylist\nnosuchcall": "", "1\nallowlist\n0\n1": "",
		"foo": "line 1", "3\ndenylist": "line 1", "# c\n2\ndenylist": "line 1", "2x\ndenylist": "line 1",
		"2": "line 2 is missing", "1": "line 2 is missing", "2\nfoo": `line 2 is "foo"`, "1\ndenylist\n0": "version 1",
		"2\ndenylist errno zz": "line 2", "2\ndenylist\nmount errno": "line 3", "2\ndenylist\n\nmount trace 5": "line 4",
		"2\ndenylist\nmount log": `"log" is no action`, "2\ndenylist\nmount\terrno zz": "line 3", "2\ndenylist\n  mount errno 1": "line 3",
		"2\ndenylist\nmount errno 99999": "0 to 4095", "2\ndenylist\nmount errno -3": "0 to 4095", "2\ndenylist\n[x86": "no architecture",
	} {
		err := rawSeccomp(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"mount errno 1\n\nfoo": "", "mount errno 1 # x\n": "", "[x86_64]\nmount": "", "mount errno zz": "line 1", "mount\nopen foo": "line 2", "[all": "line 1",
	} {
		err := seccompLines(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("lines %q: %v, want %q", text, err, want)
		}
	}
}

// TestWhatCannotStartIsRefusedWhereItIsSet: of instances and of profiles, with the key.
func TestWhatCannotStartIsRefusedWhereItIsSet(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	for key, value := range map[string]string{
		"raw.seccomp": "foo", "security.syscalls.allow": "read foo", "security.syscalls.deny": "mount errno zz", "limits.kernel.nosuch": "1", "limits.kernel.NOFILE": "1",
		"limits.kernel.nofile": "10:5", "limits.kernel.nproc": "unlimited:5", "limits.kernel.as": "18446744073709551616", "limits.kernel.nofile.x": "1", "raw.lxc": refusedRaw,
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
