package instance

import (
	"net/http"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
)

// forRestricted is a value of each key that restricted projects do not have for free, and the key of the project that governs it. A key of the table
// that is neither here nor free is one that nobody thought about.
var forRestricted = map[string]struct{ value, by string }{
	"boot.host_shutdown_timeout":     {"5", lowlevel},
	"linux.kernel_modules":           {"dummy", lowlevel},
	"linux.sysctl.*":                 {"1", lowlevel},
	"raw.apparmor":                   {"x", lowlevel},
	"raw.idmap":                      {"both 1000 1000", lowlevel},
	"raw.lxc":                        {"lxc.log.level=1", lowlevel},
	"raw.seccomp":                    {"2", lowlevel},
	"security.idmap.base":            {"100000", lowlevel},
	"security.idmap.size":            {"65536", lowlevel},
	"security.nesting":               {"true", "restricted.containers.nesting"},
	"security.privileged":            {"true", privilege},
	"security.syscalls.allow":        {"mknod", lowlevel},
	"security.syscalls.deny_default": {"false", lowlevel},
}

func TestEveryKeyIsFreeOrGoverned(t *testing.T) {
	for _, k := range Keys.Keys() {
		if strings.HasPrefix(k.Name, "volatile.") {
			continue // what clients write of them is refused: TestVolatileKeysInARestrictedProject
		}
		name, known := strings.ReplaceAll(k.Name, "*", "x"), false
		tt, known := forRestricted[k.Name]
		if !known {
			tt.value = "x"
		}
		needs := keyNeeds("c", map[string]string{name: tt.value})
		switch {
		case !known && len(needs) > 0:
			t.Errorf("%s: is it free in a restricted project? If it is not, it has a row here: %+v", k.Name, needs)
		case known && (len(needs) != 1 || needs[0].Key != tt.by || needs[0].Level != "allow" || !strings.Contains(needs[0].Refusal, name)):
			t.Errorf("%s=%s needs %+v", k.Name, tt.value, needs)
		}
		if k.Default != "" && len(keyNeeds("c", map[string]string{name: k.Default})) > 0 {
			t.Errorf("the default of %s is not free", k.Name)
		}
	}
	if needs := keyNeeds("c", map[string]string{"not.declared": "x"}); len(needs) != 1 || needs[0].Key != "" {
		t.Errorf("a key of no table needs %+v", needs)
	}
}

// A device of a type that says nothing of restricted projects is in none, unless its own key allows it.
func TestDevicesOfUnknownTypes(t *testing.T) {
	h := newHouse(t, nil)
	h.Modules = map[string]device.Module{"odd": newFakeModule()}
	for _, kind := range []string{"odd", "absent"} {
		needs := h.deviceNeeds("c", map[string]device.Config{"d": {"type": kind}})
		if len(needs) != 1 || needs[0].Key != "restricted.devices."+kind || needs[0].Level != "allow" {
			t.Errorf("%s: %+v", kind, needs)
		}
	}
}

// restrict makes a project whose default profile has the default project's root disk, and restricts it.
func (h *house) restrict(name string, more map[string]string) {
	h.t.Helper()
	c := map[string]string{"restricted": "true"}
	for k, v := range more {
		c[k] = v
	}
	h.do(h.projects.Create(h.t.Context(), api.ProjectsPost{Name: name, ProjectPut: api.ProjectPut{Config: c}}))
	h.giveRoot(name)
}

// giveRoot gives the default profile of a project the devices of the default project's.
func (h *house) giveRoot(name string) {
	h.t.Helper()
	_, devices, _ := h.profiles.Definition("default", "default")
	put := api.ProfilePut{Devices: map[string]map[string]string{}}
	for device, cfg := range devices {
		put.Devices[device] = cfg
	}
	h.do(h.profiles.Patch(h.t.Context(), name, "default", put, false, anyRevision))
}

func (h *house) nested(project, name string) bool {
	h.t.Helper()
	row, err := h.get(project, name)
	h.do(err)
	return h.effectiveOf(row.Value).Config["security.nesting"] != ""
}

// Each way in is tried with a key that the project forbids.
func TestNoWayAroundARestriction(t *testing.T) {
	h := newHouse(t, nil)
	h.create("nested", func(req *api.InstancesPost) { req.Config = map[string]string{"security.nesting": "true"} })
	h.restrict("p", map[string]string{"restricted.snapshots": "allow"})
	post := func(change func(*api.InstancesPost)) error {
		req := api.InstancesPost{Name: "c1", Source: api.InstanceSource{Type: "none"}}
		change(&req)
		return h.run(h.Create(h.t.Context(), "p", req))
	}
	h.do(post(func(*api.InstancesPost) {}))
	edit := func(change api.InstancePut) error {
		return h.Patch(h.t.Context(), "p", "c1", change, func(string) bool { return false }, anyRevision)
	}
	for way, err := range map[string]error{
		"create": post(func(req *api.InstancesPost) {
			req.Name, req.Config = "c2", map[string]string{"security.nesting": "true"}
		}),
		"copy": post(func(req *api.InstancesPost) {
			req.Name, req.Source = "c2", api.InstanceSource{Type: "copy", Source: "nested", Project: "default"}
		}),
		"refresh": post(func(req *api.InstancesPost) {
			req.Source = api.InstanceSource{Type: "copy", Source: "nested", Project: "default", Refresh: true}
		}),
		"key":                 edit(api.InstancePut{Config: map[string]string{"security.nesting": "true"}}),
		"device":              edit(api.InstancePut{Devices: map[string]map[string]string{"d": {"type": "disk", "source": "/", "path": "/host"}}}),
		"a new profile":       h.profiles.Create(h.t.Context(), "p", api.ProfilesPost{Name: "nesting", ProfilePut: api.ProfilePut{Config: map[string]string{"security.nesting": "true"}}}),
		"change of a profile": h.profiles.Patch(h.t.Context(), "p", "default", api.ProfilePut{Config: map[string]string{"security.nesting": "true"}}, false, anyRevision),
	} {
		if err == nil || !strings.Contains(err.Error(), "forbidden") || api.StatusOf(err) != http.StatusForbidden {
			t.Errorf("%s: %v (%d)", way, err, api.StatusOf(err))
		}
	}
	if _, there := h.instances.Get("p", "c2"); there || h.nested("p", "c1") {
		t.Error("a way that is refused leaves something")
	}
}

// A snapshot of a time before the restriction does not bring back what is forbidden by now.
func TestARestoreIsHeldToTheRestriction(t *testing.T) {
	h := newHouse(t, nil)
	h.restrict("p", map[string]string{"restricted.snapshots": "allow", "restricted.containers.nesting": "allow"})
	h.do(h.run(h.Create(h.t.Context(), "p", api.InstancesPost{Name: "c1", Source: api.InstanceSource{Type: "none"},
		InstancePut: api.InstancePut{Config: map[string]string{"security.nesting": "true"}}})))
	h.do(h.run(h.CreateSnapshot(h.t.Context(), "p", "c1", api.InstanceSnapshotsPost{Name: "s0"})))
	h.do(h.Patch(h.t.Context(), "p", "c1", api.InstancePut{Config: map[string]string{"security.nesting": ""}}, func(string) bool { return false }, anyRevision))
	h.do(h.projects.Patch(h.t.Context(), "p", api.ProjectPut{Config: map[string]string{"restricted.containers.nesting": "block", "restricted.snapshots": "block"}}, false, anyRevision))
	if err := h.run(h.Restore(h.t.Context(), "p", "c1", "s0", anyRevision)); err == nil || !strings.Contains(err.Error(), "Container nesting is forbidden") {
		t.Errorf("restore: %v", err)
	}
	if _, err := h.CreateSnapshot(h.t.Context(), "p", "c1", api.InstanceSnapshotsPost{Name: "s1"}); api.StatusOf(err) != http.StatusForbidden {
		t.Errorf("snapshot: %v", err)
	}
	for _, alone := range []bool{true, false} {
		err := h.run(h.Create(h.t.Context(), "p", api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1", InstanceOnly: alone}}))
		if (err == nil) != alone {
			t.Errorf("copy of the instance alone %v: %v", alone, err)
		}
	}
}

func TestVolatileKeysInARestrictedProject(t *testing.T) {
	h := newHouse(t, nil)
	h.restrict("p", nil)
	h.do(h.run(h.Create(h.t.Context(), "p", api.InstancesPost{Name: "c1", Source: api.InstanceSource{Type: "none"}})))
	for key, value := range map[string]string{"volatile.idmap.next": "[]", "volatile.uuid": "5f75b32a-84c9-4d8f-aadf-364e835a6ff0", "volatile.eth0.host_name": "eth0"} {
		for how, err := range map[string]error{
			"set":    h.Patch(h.t.Context(), "p", "c1", api.InstancePut{Config: map[string]string{key: value}}, func(string) bool { return false }, anyRevision),
			"create": h.run(h.Create(h.t.Context(), "p", api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "none"}, InstancePut: api.InstancePut{Config: map[string]string{key: value}}})),
		} {
			if api.StatusOf(err) != http.StatusForbidden || !strings.Contains(err.Error(), key) {
				t.Errorf("%s %s: %v", how, key, err)
			}
		}
	}
	h.do(h.Patch(h.t.Context(), "p", "c1", api.InstancePut{Config: map[string]string{"volatile.eth0.hwaddr": "00:16:3e:00:00:01"}}, func(string) bool { return false }, anyRevision))
}
