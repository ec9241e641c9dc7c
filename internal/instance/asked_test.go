package instance

import (
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

// TestTheArchitectureOfTheSourceCounts, whatever a client says, if not even one there is: pylxd's tests send LXD's number of it.
func TestTheArchitectureOfTheSourceCounts(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", func(r *api.InstancesPost) { r.Architecture = "2" })
	req := api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1"}}
	req.Architecture = "2"
	h.do(h.run(h.Create(t.Context(), "default", req)))
	for _, name := range []string{"c1", "c2"} {
		if got := h.show(name).Architecture; got != "x86_64" {
			t.Errorf("the architecture of %s is %q", name, got)
		}
	}
	req.Name, req.Source = "c3", api.InstanceSource{Type: "none"}
	_, err := h.Create(t.Context(), "default", req)
	if api.StatusOf(err) != 400 || err.Error() != "Architecture isn't supported: 2" {
		t.Errorf("of no source: %v", err)
	}
}

// TestWhatCouldNotStartIsRefusedWhenItIsSet, in a profile too.
func TestWhatCouldNotStartIsRefusedWhenItIsSet(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	bad := map[string]string{"environment.A": "a\nb"}
	h.profile("p", nil, nil)
	for where, err := range map[string]error{"instance": h.patch("c1", bad, nil), "profile": h.putProfile("p", bad, nil)} {
		if api.StatusOf(err) != 400 || !strings.Contains(err.Error(), `environment.A="a\nb"`) {
			t.Errorf("%s: %v", where, err)
		}
	}
}

// TestCloudInitDataIsCheckedWhereItIsNew: by whichever door it comes, and not again where it is already, as in a copy or a later change.
func TestCloudInitDataIsCheckedWhereItIsNew(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	const want = "cloud-init.user-data is not valid YAML: line 2, column 1: "
	bad := map[string]string{"cloud-init.user-data": "#cloud-config\n\ta: 1"}
	create := func(name string, source api.InstanceSource, c map[string]string) error {
		req := api.InstancesPost{Name: name, Source: source}
		req.Config = c
		return h.run(h.Create(t.Context(), "default", req))
	}
	image, source := api.InstanceSource{Type: "image", Alias: "img"}, api.InstanceSource{Type: "copy", Source: "c1"}
	for where, err := range map[string]error{"update": h.patch("c1", bad, nil), "create": create("c2", image, bad), "copy": create("c3", source, bad)} {
		if api.StatusOf(err) != 400 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", where, err)
		}
	}
	row, err := h.get("default", "c1")
	h.do(err)
	old := row.Value.clone()
	old.Config["cloud-init.user-data"] = bad["cloud-init.user-data"] // by an earlier version
	_, err = h.Store.Commit(t.Context(), h.instances.Replace(row, old))
	h.do(err)
	h.do(h.patch("c1", map[string]string{"user.other": "1"}, nil))
	h.do(create("c4", source, nil))
	h.do(h.action("c1", "start"))
}
