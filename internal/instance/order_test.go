package instance

import (
	"context"
	"maps"
	"net/http"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
)

// watched is a module that notes when it is let look at the host. In a restricted project its devices need all to be allowed.
type watched struct {
	*fakeModule
	looks []string
}

func (m *watched) Validate(_ context.Context, in device.Instance, name string, _ device.Config) error {
	m.looks = append(m.looks, "validate "+name+" of "+in.Name)
	return nil
}

func (m *watched) Check(_ context.Context, in device.Instance, name string, _ device.Config) error {
	m.looks = append(m.looks, "check "+name+" of "+in.Name)
	return nil
}

func (m *watched) CheckSupported(_ string, _, _ device.Config) error {
	m.looks = append(m.looks, "supported")
	return nil
}

// What is on the host is not told to whom it is forbidden: in a restricted project a device is refused before anything of it is looked at.
func TestRestrictionsAreAskedBeforeTheHost(t *testing.T) {
	h := newHouse(t, nil)
	m := &watched{fakeModule: newFakeModule()}
	h.Modules = maps.Clone(h.Modules)
	h.Modules["watched"] = m
	devices := map[string]map[string]string{"w": {"type": "watched"}}
	h.create("open", func(req *api.InstancesPost) { req.Devices = devices })
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "open", api.InstanceSnapshotsPost{Name: "s0"})))
	h.do(h.projects.Create(t.Context(), api.ProjectsPost{Name: "p", ProjectPut: api.ProjectPut{Config: map[string]string{"features.profiles": "false"}}}))
	post := func(name string, source api.InstanceSource, with map[string]map[string]string) error {
		return h.run(h.Create(t.Context(), "p", api.InstancesPost{Name: name, Source: source, InstancePut: api.InstancePut{Devices: with}}))
	}
	h.do(post("c1", api.InstanceSource{Type: "none"}, devices))
	h.do(h.run(h.CreateSnapshot(t.Context(), "p", "c1", api.InstanceSnapshotsPost{Name: "s0"})))
	row, err := h.get("p", "c1")
	h.do(err)
	h.do(h.run(h.Put(t.Context(), "p", "c1", api.InstancePut{Config: row.Value.Config, Profiles: row.Value.Profiles}, anyRevision)))
	h.do(h.projects.Patch(t.Context(), "p", api.ProjectPut{Config: map[string]string{"restricted": "true", "restricted.snapshots": "allow"}}, false, anyRevision))
	h.do(h.projects.Create(t.Context(), api.ProjectsPost{Name: "own", ProjectPut: api.ProjectPut{Config: map[string]string{"restricted": "true"}}}))
	copied := api.InstanceSource{Type: "copy", Source: "open", Project: "default"}
	refresh := copied
	refresh.Refresh = true
	put := api.InstancePut{Config: row.Value.Config, Profiles: row.Value.Profiles, Devices: devices}
	profile := api.ProfilePut{Devices: devices}
	for way, try := range map[string]func() error{
		"create":             func() error { return post("c2", api.InstanceSource{Type: "none"}, devices) },
		"copy":               func() error { return post("c2", copied, nil) },
		"copy of a snapshot": func() error { return post("c2", api.InstanceSource{Type: "copy", Source: "c1/s0"}, nil) },
		"refresh":            func() error { return post("c1", refresh, nil) },
		"move": func() error {
			return h.run(h.Post(t.Context(), "default", "open", api.InstancePost{Name: "c2", Migration: true, Project: "p"}))
		},
		"restore": func() error { return h.run(h.Restore(t.Context(), "p", "c1", "s0", anyRevision)) },
		"PUT":     func() error { return h.run(h.Put(t.Context(), "p", "c1", put, anyRevision)) },
		"PATCH": func() error {
			return h.Patch(t.Context(), "p", "c1", api.InstancePut{Devices: devices}, func(string) bool { return false }, anyRevision)
		},
		"a new profile": func() error {
			return h.profiles.Create(t.Context(), "own", api.ProfilesPost{Name: "x", ProfilePut: profile})
		},
		"a profile":            func() error { return h.profiles.Patch(t.Context(), "own", "default", profile, false, anyRevision) },
		"a profile of another": func() error { return h.profiles.Patch(t.Context(), "default", "default", profile, false, anyRevision) },
	} {
		m.looks = nil
		if err := try(); api.StatusOf(err) != http.StatusForbidden {
			t.Errorf("%s: %v", way, err)
		}
		if len(m.looks) > 0 && way != "a profile of another" { // that is refused for who follows it, once the default project has been asked
			t.Errorf("%s looks at the host before it is refused: %q", way, m.looks)
		}
	}
	m.looks = nil
	h.do(h.projects.Patch(t.Context(), "p", api.ProjectPut{Config: map[string]string{"restricted": ""}}, false, anyRevision))
	h.do(h.Patch(t.Context(), "p", "c1", api.InstancePut{Devices: devices}, func(string) bool { return false }, anyRevision))
	if len(m.looks) == 0 {
		t.Error("what is allowed is not looked at")
	}
}
