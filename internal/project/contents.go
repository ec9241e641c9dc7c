package project

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
)

// Contents is what is in a project, as its limits and restrictions see it. What is named twice is there once, and may have either shape: the
// one it has, or the one that a change that is under way gives it. Limits count the larger amount of each, restrictions are asked of both.
type Contents struct {
	Instances []Instance
	Profiles  []Profile // its own
	Volumes   []Volume
	Images    int64 // bytes
	Networks  int
}

// Instance is an instance with what counts of it: its own keys and devices with those of its profiles.
type Instance struct {
	Name string
	VM   bool
	// Config is its effective configuration, Root the effective root disk.
	Config, Root map[string]string
	// Needs tells what of it is not free in a restricted project.
	Needs func() []Need
}

// Profile is a profile with what of it is not free in a restricted project.
type Profile struct {
	Name  string
	Needs func() []Need
}

// Volume is a custom volume.
type Volume struct{ Pool, Name, Size string }

// beside is c while a change is under way, which may yet fail: it takes nothing away.
func (c Contents) beside(change Contents) Contents {
	return Contents{
		Instances: slices.Concat(c.Instances, change.Instances),
		Profiles:  slices.Concat(c.Profiles, change.Profiles),
		Volumes:   slices.Concat(c.Volumes, change.Volumes),
		Images:    c.Images + max(0, change.Images),
		Networks:  c.Networks + max(0, change.Networks),
	}
}

// with is c after a change. What the change names again takes the place of what there was.
func (c Contents) with(change Contents) Contents {
	next := Contents{Images: c.Images + change.Images, Networks: c.Networks + change.Networks}
	changed := map[string]bool{}
	for _, i := range change.Instances {
		changed[i.Name] = true
	}
	for _, i := range c.Instances {
		if !changed[i.Name] {
			next.Instances = append(next.Instances, i)
		}
	}
	volumes := map[[2]string]bool{}
	for _, v := range change.Volumes {
		volumes[[2]string{v.Pool, v.Name}] = true
	}
	for _, v := range c.Volumes {
		if !volumes[[2]string{v.Pool, v.Name}] {
			next.Volumes = append(next.Volumes, v)
		}
	}
	profiles := map[string]bool{}
	for _, p := range change.Profiles {
		profiles[p.Name] = true
	}
	for _, p := range c.Profiles {
		if !profiles[p.Name] {
			next.Profiles = append(next.Profiles, p)
		}
	}
	next.Profiles = append(next.Profiles, change.Profiles...)
	next.Instances = append(next.Instances, change.Instances...)
	next.Volumes = append(next.Volumes, change.Volumes...)
	return next
}

// measure is a resource that can be limited for a whole project.
type measure struct {
	key string
	// resource is its name in what a project uses.
	resource string
	// of tells how much a project has of it. Strictly, whatever says nothing of it, or no number, is an error: its use has no bound.
	of func(c Contents, project string, strict bool) (int64, error)
	// parse reads the limit.
	parse func(value string) (int64, error)
	// show writes an amount for people.
	show func(n int64) string
}

// measures in the order in which they are checked.
var measures = []measure{
	{key: "limits.instances", resource: "instances", of: counted(func(Instance) bool { return true }), parse: parseCount, show: showCount},
	{key: "limits.containers", resource: "containers", of: counted(func(i Instance) bool { return !i.VM }), parse: parseCount, show: showCount},
	{key: "limits.virtual-machines", resource: "virtual-machines", of: counted(func(i Instance) bool { return i.VM }), parse: parseCount, show: showCount},
	{key: "limits.cpu", resource: "cpu", of: summed("limits.cpu", parseCount), parse: parseCount, show: showCount},
	{key: "limits.disk", resource: "disk", of: disk, parse: config.ParseSize, show: showSize},
	{key: "limits.memory", resource: "memory", of: summed("limits.memory", config.ParseSize), parse: config.ParseSize, show: showSize},
	{key: "limits.networks", resource: "networks", of: func(c Contents, _ string, _ bool) (int64, error) { return int64(c.Networks), nil }, parse: parseCount, show: showCount},
	{key: "limits.processes", resource: "processes", of: summed("limits.processes", parseCount), parse: parseCount, show: showCount},
}

func parseCount(value string) (int64, error) {
	n, err := strconv.ParseUint(value, 10, 32)
	return int64(n), err
}

func showSize(n int64) string { return strings.ReplaceAll(humanize.IBytes(uint64(max(n, 0))), " ", "") }

// add adds amounts up to the largest there is: two that are too large must not come out as little.
func add(a, b int64) int64 {
	if b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}

func showCount(n int64) string { return strconv.FormatInt(n, 10) }

// amounts are what things take of a resource, by name. Of those that are there twice, the larger one counts.
type amounts[K comparable] map[K]int64

func (a amounts[K]) count(name K, n int64) { a[name] = max(a[name], n) }

func (a amounts[K]) sum() (sum int64) {
	for _, n := range a {
		sum = add(sum, n)
	}
	return sum
}

// counted counts instances.
func counted(fits func(Instance) bool) func(Contents, string, bool) (int64, error) {
	return func(c Contents, _ string, _ bool) (int64, error) {
		each := amounts[string]{}
		for _, i := range c.Instances {
			if fits(i) {
				each.count(i.Name, 1)
			}
		}
		return each.sum(), nil
	}
}

// summed adds up what a key gives to all instances.
func summed(key string, parse func(string) (int64, error)) func(Contents, string, bool) (int64, error) {
	return func(c Contents, project string, strict bool) (int64, error) {
		each := amounts[string]{}
		for _, i := range c.Instances {
			value := i.Config[key]
			n, err := parse(value)
			switch {
			case err == nil && value != "":
				each.count(i.Name, n)
			case !strict:
			case value == "":
				return 0, api.BadRequest("Instance %q in project %q has no %q config, either directly or via a profile", i.Name, project, key)
			default: // a share of the host, or certain CPUs
				return 0, api.BadRequest("Failed parsing %q for instance %q in project %q (%q is no amount)", key, i.Name, project, value)
			}
		}
		return each.sum(), nil
	}
}

// disk adds up the sizes of root disks, custom volumes and images.
func disk(c Contents, project string, strict bool) (int64, error) {
	each := amounts[[3]string]{} // by kind, pool and name
	count := func(kind, pool, name, size, missing string) error {
		n, err := config.ParseSize(size)
		switch {
		case err == nil && size != "":
			each.count([3]string{kind, pool, name}, n)
		case strict:
			return api.BadRequest("%s", missing)
		}
		return nil
	}
	for _, i := range c.Instances {
		missing := fmt.Sprintf("Instance %q in project %q has no \"size\" config set on the root device either directly or via a profile", i.Name, project)
		if err := count("instance", "", i.Name, i.Root["size"], missing); err != nil {
			return 0, err
		}
	}
	for _, v := range c.Volumes {
		if err := count("volume", v.Pool, v.Name, v.Size, fmt.Sprintf("Custom volume %q in project %q has no \"size\" config set", v.Name, project)); err != nil {
			return 0, err
		}
	}
	return add(c.Images, each.sum()), nil
}
