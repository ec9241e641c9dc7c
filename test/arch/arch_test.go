// Package arch keeps the floors of the house: each package may import only what stands on its own floor or beneath.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/berthd/berth/"

type pkg struct {
	ImportPath string
	Imports    []string
	CgoFiles   []string
}

// floors, from the ground up. A package belongs to the longest prefix that fits.
var floors = []struct {
	name     string
	prefixes []string
}{
	{"wire", []string{"api"}},
	{"client", []string{"client"}},
	{"platform", []string{"internal"}}, // whatever has no place of its own below
	{"driver", []string{"internal/driver"}},
	{"service", []string{
		"internal/instance", "internal/image", "internal/storage", "internal/network", "internal/project", "internal/profile",
		"internal/certificate", "internal/identity", "internal/warning", "internal/serverconfig", "internal/exec", "internal/resources", "internal/metrics",
	}},
	{"server", []string{"internal/server"}},
	{"command line", []string{"internal/cli"}},
	{"house", []string{"internal/daemon"}},
	{"programs", []string{"cmd"}},
	{"tests", []string{"test"}},
}

func floorOf(path string) int {
	best, length := -1, -1
	for i, f := range floors {
		for _, p := range f.prefixes {
			if (path == p || strings.HasPrefix(path, p+"/")) && len(p) > length {
				best, length = i, len(p)
			}
		}
	}
	return best
}

func floorNamed(name string) int {
	for i, f := range floors {
		if f.name == name {
			return i
		}
	}
	panic(name)
}

func packages(t *testing.T, patterns ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,CgoFiles"}, patterns...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func TestImportsGoDownwards(t *testing.T) {
	for _, p := range packages(t, "./...") {
		from := strings.TrimPrefix(p.ImportPath, module)
		floor := floorOf(from)
		if floor < 0 {
			t.Errorf("%s stands on no floor", from)
		}
		for _, i := range p.Imports {
			to, ours := strings.CutPrefix(i, module)
			if ours && floorOf(to) > floor {
				t.Errorf("%s (%s) imports %s (%s) above it", from, floors[floor].name, to, floors[floorOf(to)].name)
			}
		}
	}
}

// forbidden are imports that a floor must not have, with the reason.
var forbidden = []struct{ floor, path, why string }{
	{"wire", module, "clients import the wire types alone"},
	{"client", module + "internal/", "other programs import the client"},
	{"driver", module + "internal/store", "a driver knows nothing of the database"},
	{"driver", module + "internal/journal", "a driver knows nothing of the database"},
	{"driver", "net/http", "a driver knows nothing of HTTP"},
	{"service", module + "internal/driver/lxc", "services see runtimes through an interface of their own"},
	{"command line", module + "internal/store", "the command line reaches the daemon through its API"},
	{"command line", module + "internal/server", "the command line reaches the daemon through its API"},
	{"command line", module + "internal/driver", "the command line reaches the daemon through its API"},
}

func TestForbiddenImports(t *testing.T) {
	for _, p := range packages(t, "./...") {
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, f := range forbidden {
			if floorOf(from) != floorNamed(f.floor) {
				continue
			}
			for _, i := range p.Imports {
				// A package of a floor may import its neighbours, never the floor's ban.
				if (i == f.path || strings.HasPrefix(i, strings.TrimSuffix(f.path, "/")+"/")) && floorOf(strings.TrimPrefix(i, module)) != floorOf(from) {
					t.Errorf("%s imports %s: %s", from, i, f.why)
				}
			}
		}
	}
}

// TestOnlyTheHelperLinksLiblxc: a fault in liblxc must not be able to take the daemon down.
func TestOnlyTheHelperLinksLiblxc(t *testing.T) {
	for _, p := range packages(t, "-deps", "./cmd/...") {
		if strings.HasPrefix(p.ImportPath, "github.com/lxc/") {
			t.Errorf("%s is linked into a Go program", p.ImportPath)
		}
		if strings.HasPrefix(p.ImportPath, module) && len(p.CgoFiles) > 0 {
			t.Errorf("%s uses cgo", p.ImportPath)
		}
	}
}

// TestTheDaemonRendersNoTemplates: what the template library does with a hostile template only ends with its process.
func TestTheDaemonRendersNoTemplates(t *testing.T) {
	for _, p := range packages(t, "-deps", "./cmd/berthd", "./cmd/berth") {
		if strings.HasPrefix(p.ImportPath, "github.com/flosch/pongo2") {
			t.Errorf("%s is linked into a program that runs outside the sandbox", p.ImportPath)
		}
	}
}
