package project

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"testing"

	"github.com/berthd/berth/api"
)

// holds is what is in the projects of a world, as their limits see it.
func (w *world) contentsOf(name string) Contents {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.holds[name]
}

// put makes something that is admitted, as services do: it is in the store before the release.
func (w *world) put(name string, change Contents) error {
	release, err := w.Admit(w.t.Context(), "instance creation", name, change)
	if err != nil {
		return err
	}
	defer release()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holds[name] = w.holds[name].with(change)
	return nil
}

func instance(name string, pairs ...string) Contents {
	c := settings(pairs...)
	root := map[string]string{"type": "disk", "path": "/"}
	if size := c["size"]; size != "" {
		root["size"] = size
		delete(c, "size")
	}
	return Contents{Instances: []Instance{{Name: name, Config: c, Root: root}}}
}

func volume(name, size string) Contents { return Contents{Volumes: []Volume{{"p", name, size}}} }

// set changes keys of a project.
func (w *world) set(name string, pairs ...string) error {
	return w.Patch(w.t.Context(), name, api.ProjectPut{Config: settings(pairs...)}, false, anyVersion)
}

func TestLimitsOfWhatIsAdded(t *testing.T) {
	for name, tt := range map[string]struct {
		limits  []string
		has     []Contents
		refused Contents
		text    string
	}{
		"instances":  {[]string{"limits.instances", "1"}, []Contents{instance("a")}, instance("b"), `Reached maximum number of instances in project "p"`},
		"containers": {[]string{"limits.containers", "1"}, []Contents{instance("a")}, instance("b"), `Reached maximum number of instances of type "container" in project "p"`},
		"memory": {[]string{"limits.memory", "3GB"}, []Contents{instance("a", "limits.memory", "1GB"), instance("b", "limits.memory", "2GB")},
			instance("c", "limits.memory", "1"), `Failed checking if instance creation allowed: Reached maximum aggregate value "3GB" for "limits.memory" in project "p"`},
		"a larger one in its place": {[]string{"limits.memory", "3GB"}, []Contents{instance("a", "limits.memory", "3GB")}, instance("a", "limits.memory", "3001MB"), "Reached maximum aggregate"},
		"memory without an amount": {[]string{"limits.memory", "3GB"}, nil, instance("a"),
			`Failed getting usage of project entities: Instance "a" in project "p" has no "limits.memory" config, either directly or via a profile`},
		"memory by percent": {[]string{"limits.memory", "3GB"}, nil, instance("a", "limits.memory", "10%"), `Failed parsing "limits.memory" for instance "a" in project "p"`},
		"CPUs by number":    {[]string{"limits.cpu", "3"}, nil, instance("a", "limits.cpu", "0-1"), `Failed parsing "limits.cpu" for instance "a" in project "p"`},
		"CPUs":              {[]string{"limits.cpu", "3"}, []Contents{instance("a", "limits.cpu", "2")}, instance("b", "limits.cpu", "2"), `"limits.cpu"`},
		"processes":         {[]string{"limits.processes", "10"}, []Contents{instance("a", "limits.processes", "10")}, instance("b", "limits.processes", "1"), `"limits.processes"`},
		"amounts that overflow": {[]string{"limits.memory", "3GB"}, []Contents{instance("a", "limits.memory", "1GB")},
			Contents{Instances: []Instance{{Name: "b", Config: settings("limits.memory", fmt.Sprint(int64(math.MaxInt64)))}, {Name: "c", Config: settings("limits.memory", fmt.Sprint(int64(math.MaxInt64)))}}}, "Reached maximum aggregate"},
		"disks": {[]string{"limits.disk", "100MB"}, []Contents{instance("a", "size", "50MB"), volume("v", "20MB"), {Images: 10e6}}, volume("w", "21MB"), `"limits.disk"`},
		"a disk without a size": {[]string{"limits.disk", "100MB"}, nil, instance("a"),
			`Instance "a" in project "p" has no "size" config set on the root device either directly or via a profile`},
		"a volume without a size": {[]string{"limits.disk", "100MB"}, nil, volume("v", ""), `Custom volume "v" in project "p" has no "size" config set`},
		"an image":                {[]string{"limits.disk", "100MB"}, []Contents{volume("v", "90MB")}, Contents{Images: 11e6}, `"limits.disk"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.create("p", settings(tt.limits...))
			for _, c := range tt.has {
				w.do(w.put("p", c))
			}
			w.fails(w.put("p", tt.refused), http.StatusBadRequest, tt.text)
			w.create("free", nil)
			w.do(w.put("free", tt.refused))
		})
	}
}

// A limit below what there is, or of which nothing can be said, is not taken.
func TestLimitsThatAreTooLow(t *testing.T) {
	w := newWorld(t)
	w.create("p", nil)
	for _, name := range []string{"a", "b"} {
		w.do(w.put("p", instance(name, "limits.memory", "1GB", "limits.cpu", "2", "size", "75MB")))
	}
	for _, tt := range [][3]string{
		{"limits.instances", "1", `Can't change limits.instances in project "p": "limits.instances" is too low: there currently are 2 total instances in project "p"`},
		{"limits.containers", "1", `"limits.containers" is too low: there currently are 2 instances of type container in project "p"`},
		{"limits.memory", "1GB", `"limits.memory" is too low: current total is "1.9GiB"`},
		{"limits.cpu", "3", `"limits.cpu" is too low: current total is "4"`},
		{"limits.disk", "100MB", `"limits.disk" is too low: current total is "143MiB"`},
		{"limits.processes", "9", `Instance "a" in project "p" has no "limits.processes" config`},
		{"limits.memory", "10%", `Invalid project configuration key "limits.memory" value`},
		{"limits.virtual-machines", "-1", `Invalid project configuration key "limits.virtual-machines" value`},
	} {
		w.fails(w.set("p", tt[0], tt[1]), http.StatusBadRequest, tt[2])
	}
	w.do(w.set("p", "limits.instances", "2", "limits.memory", "2GB", "limits.cpu", "4", "limits.disk", "150MB", "limits.virtual-machines", "0", "limits.networks", "0"))
	w.fails(w.put("p", instance("c", "limits.memory", "0", "limits.cpu", "0", "size", "1")), http.StatusBadRequest, "Reached maximum number")
	state, err := w.State("p")
	w.do(err)
	for resource, want := range map[string]api.ProjectStateResource{
		"instances": {Limit: 2, Usage: 2}, "containers": {Limit: -1, Usage: 2}, "virtual-machines": {Limit: 0}, "cpu": {Limit: 4, Usage: 4},
		"memory": {Limit: 2e9, Usage: 2e9}, "disk": {Limit: 150e6, Usage: 150e6}, "networks": {Limit: 0}, "processes": {Limit: -1},
	} {
		if got := state.Resources[resource]; got != want {
			t.Errorf("%s: %+v, want %+v", resource, got, want)
		}
	}
	_, err = w.State("nope")
	w.fails(err, http.StatusNotFound, "Project not found")
}

// Of sixteen that want the last place, one gets it, though none is in the store before all have asked; and one that fails leaves it free.
func TestTheLastPlaceIsGivenOnce(t *testing.T) {
	w := newWorld(t)
	w.create("p", settings("limits.instances", "1"))
	var all sync.WaitGroup
	var mu sync.Mutex
	var releases []func()
	for n := range 16 {
		all.Go(func() {
			release, err := w.Admit(context.Background(), "instance creation", "p", instance(fmt.Sprint("c", n)))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				releases = append(releases, release)
			}
		})
	}
	all.Wait()
	if len(releases) != 1 {
		t.Fatalf("%d were given the last place", len(releases))
	}
	w.fails(w.set("p", "limits.instances", "0"), http.StatusBadRequest, "too low") // it counts for who sets limits, too
	releases[0]()
	w.do(w.put("p", instance("next")))
	if len(w.admissions.pending) != 0 {
		t.Errorf("noted for ever: %v", w.admissions.pending)
	}
}

// What would take less of a limit, or need less of what is restricted, frees nothing before it is so: it may fail.
func TestAChangeThatFailsFreesNothing(t *testing.T) {
	forbidden := Need{Key: "restricted.containers.nesting", Level: "allow", Refusal: "nesting is forbidden"}
	nested := instance("a", "limits.memory", "2GB", "size", "50MB")
	nested.Instances[0].Needs = func() []Need { return []Need{forbidden} }
	nested.Profiles = []Profile{{"p", nested.Instances[0].Needs}}
	nested.Volumes, nested.Images = []Volume{{"p", "v", "30MB"}}, 20e6

	w := newWorld(t)
	w.create("p", settings("limits.memory", "3GB", "limits.disk", "110MB"))
	w.do(w.put("p", nested))
	var releases []func()
	for _, less := range []Contents{
		instance("a", "limits.memory", "1GB", "size", "10MB"), {Profiles: []Profile{{Name: "p"}}}, volume("v", "10MB"), {Images: -19e6},
	} {
		release, err := w.Admit(t.Context(), "instance update", "p", less)
		w.do(err)
		releases = append(releases, release)
	}
	check := func() {
		t.Helper()
		w.fails(w.put("p", instance("b", "limits.memory", "1001MB", "size", "1")), http.StatusBadRequest, "limits.memory")
		w.fails(w.put("p", volume("w", "11MB")), http.StatusBadRequest, "limits.disk")
		w.fails(w.put("p", Contents{Images: 11e6}), http.StatusBadRequest, "limits.disk")
		w.fails(w.set("p", "limits.memory", "1999MB"), http.StatusBadRequest, "too low")
		w.fails(w.set("p", "restricted", "true"), http.StatusBadRequest, "nesting is forbidden")
		w.do(w.set("p", "limits.memory", "2GB"))
		w.do(w.set("p", "limits.memory", "3GB"))
	}
	check()
	for _, release := range releases {
		release()
	}
	check()
	// Once it is so, it counts.
	w.mu.Lock()
	w.holds["p"] = instance("a", "limits.memory", "1GB", "size", "10MB")
	w.mu.Unlock()
	w.do(w.put("p", instance("b", "limits.memory", "2GB", "size", "100MB")))
	w.do(w.set("p", "restricted", "true"))
}
