package lxc

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/berthd/berth/internal/fdcount"
	"github.com/berthd/berth/internal/spec"
)

// counted are the methods whose descriptors TestDescriptorsAreGivenBack and TestARestartFromInsideKeepsNoDescriptor count.
var counted = []string{
	"Exec", "Terminal", "Console", "Root", "NetworkNamespace", "State", "Freeze", "Thaw", "Find", "Start", "Kill", "Cleanup", "OnRestart",
}

// withoutFiles are methods that only answer or note something.
var withoutFiles = []string{"Cgroups", "ConsoleLog", "Log", "Watch", "Close"}

// TestEveryMethodGivesDescriptorsBack, of a container that runs and of one that does not: a method that is added here or to one of the
// lists is counted, and one that is not fails the test.
func TestEveryMethodGivesDescriptorsBack(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	source := h.folder("source")
	m := spec.Mount{Source: source, Target: "mnt/a", Create: "dir", Options: []string{"bind"}}
	file := filepath.Join(source, "file")
	h.do(os.WriteFile(file, nil, 0o600))
	f := spec.Mount{Source: file, Target: "tmp/file", Create: "file", Options: []string{"bind", "ro"}}
	pids := int64(1000)
	limits := spec.Cgroup{Pids: &pids}
	calls := map[string]func(id string) error{
		"Mount": func(id string) error { // a folder and a file in turn
			m, f = f, m
			err := d.Mount(h.context(), id, m)
			if err == nil {
				err = d.Unmount(h.context(), id, m, nil)
			}
			return err
		},
		"Unmount": func(id string) error { return d.Unmount(h.context(), id, m, []string{"mnt/b"}) },
		"Mounted": func(id string) error {
			_, err := d.Mounted(h.context(), id, m, nil)
			return err
		},
		"NetworkNamespaces": func(id string) error {
			return d.NetworkNamespaces(h.context(), id, func(*os.File) error { return nil })
		},
		"Metrics": func(id string) error {
			_, err := d.Metrics(h.context(), id)
			return err
		},
		"Resolve": func(id string) error {
			_, err := d.Resolve(h.context(), id, []string{"mnt/a/b", "proc/self/root", "nowhere"})
			return err
		},
		"Has":    func(id string) error { d.Has(id, "/sbin/init"); d.Has(id, "/nowhere/x"); return nil },
		"Status": func(id string) error { d.Status(id); return nil },
		"AllowDevice": func(id string) error {
			return d.AllowDevice(h.context(), id, spec.DeviceRule{Allow: true, Rule: "c 1:3 rw"})
		},
		"Limits": func(id string) error { return d.Limits(h.context(), id, spec.Cgroup{}, limits) },
		"LookLimits": func(id string) error {
			seen, err := d.LookLimits(id, spec.Cgroup{}, limits)
			if err == nil {
				err = d.RestoreLimits(h.context(), id, seen)
			}
			return err
		},
		"RestoreLimits": func(id string) error { return d.RestoreLimits(h.context(), id, []byte("[]")) },
		"CPUs":          func(id string) error { return d.CPUs(h.context(), id, "0") },
		"Confine":       func(id string) error { return d.Confine(h.context(), id, spec.Confinement{}) },
		"CheckAppArmor": func(string) error { return d.CheckAppArmor(h.context(), "") },
		"CheckRaw":      func(string) error { return d.CheckRaw(h.context(), "lxc.signal.halt = SIGUSR1") },
		"Forget":        func(string) error { return d.Forget("c9") },
		"Sweep":         func(string) error { return d.Sweep(func(string) bool { return true }) },
		"Missing":       func(string) error { d.Missing(limits); return nil },
		"Prewarm":       func(string) error { d.Prewarm(); return nil },
		"Shutdown":      func(string) error { return d.Shutdown(h.context(), "none") }, // it ends what runs
	}
	known := slices.Concat(counted, withoutFiles, slices.Collect(maps.Keys(calls)))
	for i := range reflect.TypeFor[*Driver]().NumMethod() {
		if name := reflect.TypeFor[*Driver]().Method(i).Name; !slices.Contains(known, name) {
			t.Errorf("nobody counts the descriptors of %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		for _, id := range []string{"c1", "none"} {
			t.Run(name+" "+id, func(t *testing.T) {
				sub := *h
				sub.T = t
				fdcount.Steady(t, func() {
					if err := calls[name](id); err != nil && id == "c1" && name != "Shutdown" {
						sub.Fatal(err)
					}
				})
			})
		}
	}
}
