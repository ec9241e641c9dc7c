package instance

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/spec"
)

// confining is a runtime that notes what it is told of profiles.
type confining struct {
	*fakeRuntime
	profiles map[string]spec.Confinement
	forgot   []string
	known    func(id string) bool
}

func (c *confining) CheckAppArmor(_ context.Context, raw string) error {
	if raw == "nonsense" {
		return api.BadRequest("Failed to parse raw.apparmor")
	}
	return nil
}

func (c *confining) Confine(_ context.Context, id string, now spec.Confinement) error {
	c.profiles[id] = now
	return nil
}

func (c *confining) Forget(id string) error {
	c.forgot = append(c.forgot, id)
	return nil
}

func (c *confining) Sweep(known func(id string) bool) error {
	c.known = known
	return nil
}

func newConfined(t *testing.T) (*house, *confining) {
	t.Helper()
	h := newHouse(t, nil)
	c := &confining{fakeRuntime: h.rt, profiles: map[string]spec.Confinement{}}
	h.Runtime = c
	return h, c
}

func TestProfilesFollowTheConfiguration(t *testing.T) {
	h, c := newConfined(t)
	h.create("c1", nil)
	set := func(kv map[string]string) error {
		return h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: kv}, func(string) bool { return false }, anyRevision)
	}
	if err := set(map[string]string{"raw.apparmor": "nonsense"}); api.StatusOf(err) != 400 {
		t.Error(err)
	}
	h.do(set(map[string]string{"raw.apparmor": "capability,"}))
	if len(c.profiles) != 0 {
		t.Error("the profile of a stopped instance was loaded:", c.profiles)
	}
	h.do(h.action("c1", "start"))
	if got := c.specs["c1"].Confinement(); got != (spec.Confinement{RawAppArmor: "capability,"}) {
		t.Errorf("%+v", got)
	}
	// That it is privileged waits for the next start; the rest does not.
	h.do(set(map[string]string{"raw.apparmor": "file,", "security.nesting": "true", "security.privileged": "true"}))
	want := spec.Confinement{RawAppArmor: "file,", Nesting: true}
	if diff := cmp.Diff(want, c.profiles["c1"]); diff != "" {
		t.Error(diff)
	}
	delete(c.profiles, "c1")
	h.do(set(map[string]string{"user.x": "y"}))
	if len(c.profiles) != 0 {
		t.Error("loaded without a change:", c.profiles)
	}
	// A change that fails later goes back.
	err := h.Patch(t.Context(), "default", "c1", api.InstancePut{
		Config: map[string]string{"raw.apparmor": "mount,"}, Devices: map[string]map[string]string{"eth1": {"type": "nic", "stuck": "yes"}},
	}, func(string) bool { return false }, anyRevision)
	if err == nil || c.profiles["c1"] != want {
		t.Errorf("%v, %+v", err, c.profiles["c1"])
	}
}

func TestProfilesGoWithTheirInstances(t *testing.T) {
	h, c := newConfined(t)
	h.create("c1", nil)
	h.do(h.rename(t.Context(), "default", "c1", "c2"))
	h.do(h.run(h.Delete(t.Context(), "default", "c2")))
	if diff := cmp.Diff([]string{"c1", "c2"}, c.forgot); diff != "" {
		t.Error(diff)
	}
	h.create("c3", nil)
	h.do(h.Adopt(t.Context()))
	if !c.known("c3") || c.known("c2") {
		t.Error("what is swept")
	}
}

func TestKeysOfConfinement(t *testing.T) {
	for _, name := range []string{"raw.apparmor", "security.nesting"} {
		if k, ok := Keys.Lookup(name); !ok || !k.Live {
			t.Errorf("%s: %+v %v", name, k, ok)
		}
	}
	if k, _ := Keys.Lookup("raw.apparmor"); k.Restricted == config.Free {
		t.Error("restricted projects may set raw.apparmor")
	}
}

// TestThePrivilegedMountOnlyAsAppArmorSees pins that the newer mount interface, which AppArmor does not mediate, is closed to a root that
// is the host's, and open to others.
func TestThePrivilegedMountOnlyAsAppArmorSees(t *testing.T) {
	lines := func(c map[string]string) []string { return strings.Split(seccomp(c), "\n") }
	for _, call := range []string{"mount_setattr", "move_mount", "fsmount", "open_tree"} {
		line := call + " errno 38"
		if !slices.Contains(lines(map[string]string{"security.privileged": "true"}), line) {
			t.Errorf("%s is open to a privileged container", call)
		}
		if slices.Contains(lines(nil), line) {
			t.Errorf("%s is closed to an unprivileged container", call)
		}
	}
}
