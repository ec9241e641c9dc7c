package instance

import (
	"slices"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

// A copy to a project that lacks a profile of the source is refused there; what the source's own project lacks is left out, as in a copy within it.
func TestACopyToAnotherProjectNeedsItsProfiles(t *testing.T) {
	h := newHouse(t, nil)
	h.do(h.projects.Create(t.Context(), api.ProjectsPost{Name: "p"}))
	root := map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "p1"}}
	h.do(h.profiles.Put(t.Context(), "p", "default", api.ProfilePut{Devices: root}, anyRevision))
	h.profile("gp", map[string]string{"limits.memory": "50MiB"}, nil)
	h.profile("old", nil, nil)
	h.create("px", using("gp", "old"))
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "px", api.InstanceSnapshotsPost{Name: "s"})))
	put := h.show("px").InstancePut
	put.Profiles = []string{"default", "gp"}
	h.do(h.run(h.Put(t.Context(), "default", "px", put, anyRevision)))
	h.do(h.profiles.Delete(t.Context(), "default", "old"))

	copied := func(name string, source api.InstanceSource, profiles ...string) error {
		source.Type, source.Project = "copy", "default"
		req := api.InstancesPost{Name: name, Source: source}
		req.Profiles = profiles
		return h.run(h.Create(t.Context(), "p", req))
	}
	for name, source := range map[string]api.InstanceSource{"instance": {Source: "px"}, "snapshot": {Source: "px/s"}, "refresh": {Source: "px", Refresh: true}} {
		profiles := []string{"default", "gp"}
		if name == "snapshot" {
			profiles = append(profiles, "old")
		}
		err := copied(name, source, profiles...)
		if err == nil || !strings.Contains(err.Error(), `Requested profile "gp" doesn't exist`) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := h.Get(t.Context(), "p", name); !api.IsNotFound(err) {
			t.Errorf("%s: it was made: %v", name, err)
		}
	}
	req := api.ProfilesPost{Name: "gp"}
	h.do(h.profiles.Create(t.Context(), "p", req))
	h.do(copied("there", api.InstanceSource{Source: "px/s"}, "default", "gp", "old"))
	i, _, err := h.Get(t.Context(), "p", "there")
	h.do(err)
	if !slices.Equal(i.Profiles, []string{"default", "gp"}) {
		t.Errorf("the copy has %q", i.Profiles)
	}
}
