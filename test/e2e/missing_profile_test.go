package e2e

import (
	"strings"
	"testing"

	"github.com/berthd/berth/test/harness"
)

// TestASnapshotWhoseProfileIsGone: it could be neither restored nor copied ever again.
func TestASnapshotWhoseProfileIsGone(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("profile", "create", "gone")
	d.Berth("init", "bb", "c1", "-p", "default", "-p", "gone")
	d.Berth("snapshot", "c1", "s1")
	d.Berth("profile", "assign", "c1", "default")
	d.Berth("profile", "delete", "gone")
	client := harness.Program("berth")
	said := func(args ...string) string {
		t.Helper()
		out, err := d.Try("sh", append([]string{"-c", `"$0" "$@" 2>&1`, client}, args...)...)
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		return out
	}
	const warning = "Warning: Profiles of a snapshot do not exist any more: without gone"
	if out := said("restore", "c1", "s1"); !strings.Contains(out, warning) {
		t.Errorf("restore says: %s", out)
	}
	if out := said("copy", "c1/s1", "c2"); !strings.Contains(out, warning) {
		t.Errorf("copy says: %s", out)
	}
	d.Stock("copy", "local:c1/s1", "c3")
	for _, name := range []string{"c1", "c2", "c3"} {
		if got := d.Berth("query", "/1.0/instances/"+name); !strings.Contains(strings.Join(strings.Fields(got), ""), `"profiles":["default"]`) {
			t.Errorf("%s: %s", name, got)
		}
	}
	if out := d.BerthFails("init", "bb", "c4", "-p", "gone"); !strings.Contains(out, `"gone" doesn't exist`) {
		t.Errorf("a new instance with it: %s", out)
	}
	d.Berth("rename", "c2", "c5")
	list := d.Berth("query", "/1.0/warnings?recursion=1")
	for _, name := range []string{"c1", "c3", "c5"} {
		if !strings.Contains(list, "/1.0/instances/"+name+`"`) {
			t.Errorf("no warning of %s: %s", name, list)
		}
	}
	// They end with what they are about, or when it is put right.
	d.Berth("delete", "c3", "c5")
	d.Berth("profile", "create", "gone")
	if out := said("restore", "c1", "s1"); strings.Contains(out, "Warning") {
		t.Errorf("with the profile: %s", out)
	}
	list = d.Berth("warning", "list", "--all")
	if strings.Count(list, "Profiles of a snapshot") != 1 || !strings.Contains(list, "RESOLVED") {
		t.Errorf("in the end:\n%s", list)
	}
	d.Berth("delete", "c1")
	d.Berth("profile", "delete", "gone")
}
