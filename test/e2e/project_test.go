package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/test/harness"
)

// removeProjects takes projects away with the instances, images and volumes in them.
func removeProjects(d *harness.Daemon, names ...string) {
	for _, name := range names {
		for _, i := range strings.Fields(d.Berth("list", "--project", name, "-f", "csv", "-c", "n")) {
			d.Berth("delete", "-f", i, "--project", name)
		}
		if d.Berth("project", "get", name, "features.images") == "true\n" {
			for _, fingerprint := range strings.Fields(d.Berth("image", "list", "--project", name, "-f", "csv", "-c", "f")) {
				d.Berth("image", "delete", fingerprint, "--project", name)
			}
		}
		d.Berth("project", "delete", name)
	}
}

// TestProjectsKeepTheirInstancesApart has an instance of one name in three projects: they run side by side, and what is done to one is
// done to no other.
func TestProjectsKeepTheirInstancesApart(t *testing.T) {
	d := harness.New(t).Pool().Image()
	for _, name := range []string{"blue", "red"} {
		d.Berth("project", "create", name, "-c", "features.images=false", "-c", "features.profiles=false")
	}
	for _, name := range []string{"default", "blue", "red"} {
		d.Berth("launch", "bb", "c1", "--project", name, "-c", "user.of="+name)
		d.Berth("exec", "c1", "--project", name, "--", "sh", "-c", "echo "+name+" > /root/of")
	}
	d.Berth("snapshot", "c1", "s0", "--project", "blue")
	d.Berth("restart", "-f", "c1", "--project", "blue")
	d.Berth("delete", "-f", "c1", "--project", "red")
	d.Restart() // what runs is found again, each under its project
	for name, want := range map[string]string{"default": "default\n", "blue": "blue\n"} {
		if got := d.Berth("exec", "c1", "--project", name, "--", "cat", "/root/of"); got != want {
			t.Errorf("in %s: %q", name, got)
		}
	}
	list := d.Berth("list", "--all-projects", "-f", "csv", "-c", "ens,user.of:OF")
	if want := "blue,c1,RUNNING,blue\ndefault,c1,RUNNING,default\n"; list != want {
		t.Errorf("the list of all:\n%s", list)
	}
	if got := d.Berth("list", "--project", "red", "-f", "csv"); got != "" {
		t.Errorf("in red: %s", got)
	}
	for path, want := range map[string]string{
		"/1.0/instances?all-projects=true":         `["/1.0/instances/c1?project=blue","/1.0/instances/c1"]`,
		"/1.0/instances/c1/snapshots?project=blue": `["/1.0/instances/c1/snapshots/s0?project=blue"]`,
	} {
		if got := string(call(t, d, "GET", path, "").Metadata); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	removeProjects(d, "blue", "red")
	d.Berth("exec", "c1", "--", "cat", "/root/of")
	d.Berth("delete", "-f", "c1")
}

// TestWhatAProjectShares looks at each kind of object from a project that has some of its own and from one that has the default project's.
func TestWhatAProjectShares(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("project", "create", "own")
	d.Berth("project", "create", "shares", "-c", "features.images=false", "-c", "features.profiles=false", "-c", "features.storage.volumes=false")
	d.Berth("profile", "create", "p1", "--project", "shares")
	d.Berth("storage", "volume", "create", "default", "v1", "--project", "shares")
	lists := map[string]int{"/1.0/images": 1, "/1.0/profiles": 2, "/1.0/storage-pools/default/volumes/custom": 1, "/1.0/images/aliases": 1}
	for path, n := range lists {
		var shared, all, own []string
		for project, to := range map[string]*[]string{"shares": &shared, "default": &all, "own": &own} {
			if err := json.Unmarshal(call(t, d, "GET", path+"?project="+project, "").Metadata, to); err != nil {
				t.Fatal(err)
			}
		}
		if len(shared) != n || strings.Join(shared, " ") != strings.Join(all, " ") {
			t.Errorf("%s: %q in the project that shares, %q in the default one", path, shared, all)
		}
		want := ""
		if path == "/1.0/profiles" {
			want = "/1.0/profiles/default?project=own"
		}
		if strings.Join(own, " ") != want {
			t.Errorf("%s: %q in a project of its own", path, own)
		}
	}
	d.BerthFails("init", "bb", "c1", "--project", "own")
	d.Berth("launch", "bb", "c1", "-p", "default", "-p", "p1", "--project", "shares")
	d.Berth("storage", "volume", "attach", "default", "v1", "c1", "/mnt", "--project", "shares")
	for path, url := range map[string]string{
		"/1.0/profiles/p1": "/1.0/instances/c1?project=shares", "/1.0/storage-pools/default/volumes/custom/v1": "/1.0/instances/c1?project=shares",
		"/1.0/projects/shares": "/1.0/instances/c1?project=shares",
	} {
		var object struct {
			UsedBy []string `json:"used_by"`
		}
		if err := json.Unmarshal(call(t, d, "GET", path, "").Metadata, &object); err != nil || len(object.UsedBy) != 1 || object.UsedBy[0] != url {
			t.Errorf("%s is used by %q, %v", path, object.UsedBy, err)
		}
	}
	// A profile of the default project reaches who shares it, by whichever name it is changed.
	d.Berth("profile", "set", "p1", "limits.processes=321")
	if got := d.Berth("exec", "c1", "--project", "shares", "--", "sh", "-c", "mount -t cgroup -o pids none /mnt && cat /mnt/pids.max || cat /sys/fs/cgroup/pids.max"); !strings.Contains(got, "321") {
		t.Errorf("the limit is %q", got)
	}
	d.Berth("profile", "rename", "p1", "p2", "--project", "shares")
	if got := d.Berth("config", "show", "c1", "--project", "shares"); !strings.Contains(got, "- p2") {
		t.Errorf("profiles after the rename: %s", got)
	}
	for _, args := range [][]string{{"profile", "delete", "p2"}, {"storage", "volume", "delete", "default", "v1"}, {"project", "delete", "shares"}} {
		d.BerthFails(args...)
	}
	removeProjects(d, "shares", "own")
	d.Berth("profile", "delete", "p2")
	d.Berth("storage", "volume", "delete", "default", "v1")
}

// TestAProjectGoesEmptyOrStays deletes a project while things are made in it: either there is no project, and nothing of it, or all is there.
func TestAProjectGoesEmptyOrStays(t *testing.T) {
	c := twoClients(t)
	one := func(method, path, body string) func() error {
		return func() error {
			if a := finish(t, c.Daemon, call(t, c.Daemon, method, path, body)); a.ErrorCode != 0 {
				return fmt.Errorf("%d %s", a.ErrorCode, a.Error)
			}
			return nil
		}
	}
	made := map[string]string{
		"/1.0/instances": `{"name":"c1","source":{"type":"image","alias":"bb"}}`,
		"/1.0/profiles":  `{"name":"p1"}`,
		"/1.0/storage-pools/default/volumes/custom": `{"name":"v1"}`,
	}
	for path, body := range made {
		for range 4 {
			if a := call(t, c.Daemon, "POST", "/1.0/projects", `{"name":"race","config":{"features.images":"false","features.profiles":"`+
				fmt.Sprint(path == "/1.0/profiles")+`"}}`); a.ErrorCode != 0 {
				t.Fatal(a.Error)
			}
			errs := together(one("POST", path+"?project=race", body), one("DELETE", "/1.0/projects/race", ""))
			if (errs[0] == nil) == (errs[1] == nil) {
				t.Errorf("%s: made: %v, deleted: %v", path, errs[0], errs[1])
			}
			there := call(t, c.Daemon, "GET", "/1.0/projects/race", "").ErrorCode == 0
			if there == (errs[1] == nil) {
				t.Errorf("%s: deleted: %v, there: %v", path, errs[1], there)
			}
			if errs[1] == nil {
				continue
			}
			object := map[string]string{"/1.0/instances": "/1.0/instances/c1", "/1.0/profiles": "/1.0/profiles/p1"}[path]
			if object == "" {
				object = path + "/v1"
			}
			c.must(one("DELETE", object+"?project=race", "")())
			c.must(one("DELETE", "/1.0/projects/race", "")())
		}
	}
	if left, _ := filepath.Glob(c.Dir + "/storage-pools/default/*/race_*"); len(left) > 0 {
		t.Errorf("left on the pool: %q", left)
	}
}

// TestNetworksOfAProject: a project has the default one's networks or, until there are networks that two projects can have, none.
func TestNetworksOfAProject(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("project", "create", "nets", "-c", "features.networks=true")
	d.Berth("project", "create", "plain")
	d.Berth("network", "create", "pn0", "--project", "plain", "ipv4.address=none", "ipv6.address=none")
	if got := call(t, d, "GET", "/1.0/networks?project=nets", "").Metadata; string(got) != "[]" {
		t.Errorf("networks of a project of its own: %s", got)
	}
	if a := call(t, d, "POST", "/1.0/networks?project=nets", `{"name":"pn1"}`); a.ErrorCode != http.StatusBadRequest || a.Error != "Network type does not support non-default projects" {
		t.Errorf("%d %s", a.ErrorCode, a.Error)
	}
	var n api.Network
	if err := json.Unmarshal(call(t, d, "GET", "/1.0/networks/pn0?project=plain", "").Metadata, &n); err != nil || !n.Managed {
		t.Errorf("%v %+v", err, n)
	}
	d.Berth("project", "delete", "nets")
	d.Berth("project", "delete", "plain")
	d.Berth("network", "delete", "pn0")
}

// TestAMoveToAnotherProject takes an instance with its snapshots along, as it is; what the project there does not allow stays where it is.
func TestAMoveToAnotherProject(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("project", "create", "there", "-c", "features.images=false")
	d.Berth("profile", "create", "here")
	d.Berth("launch", "bb", "c1", "-c", "user.x=y")
	d.Berth("exec", "c1", "--", "sh", "-c", "echo mine > /root/file")
	d.Berth("snapshot", "c1", "s0")
	mac := d.Berth("config", "get", "c1", "volatile.uuid")
	if out := d.BerthFails("move", "c1", "--target-project", "there"); !strings.Contains(out, "must be stopped") {
		t.Errorf("a running one: %s", out)
	}
	d.Berth("stop", "-f", "c1")
	d.Berth("profile", "add", "c1", "here")
	if out := d.BerthFails("move", "c1", "--target-project", "there"); !strings.Contains(out, `"here" doesn't exist`) {
		t.Errorf("a profile that is not there: %s", out)
	}
	d.Berth("profile", "remove", "c1", "here")
	d.Berth("project", "set", "there", "limits.instances=0")
	if out := d.BerthFails("move", "c1", "--target-project", "there"); !strings.Contains(out, "Reached maximum number") {
		t.Errorf("beyond a limit: %s", out)
	}
	d.Berth("project", "unset", "there", "limits.instances")
	// The default profile of a new project has no root disk: it comes along.
	d.Stock("move", "c1", "c2", "--target-project", "there")
	if got := d.Berth("list", "--all-projects", "-f", "csv", "-c", "enS,user.x:X"); got != "there,c2,1,y\n" {
		t.Errorf("after the move: %s", got)
	}
	d.Restart()
	d.Berth("start", "c2", "--project", "there")
	if got := d.Berth("exec", "c2", "--project", "there", "--", "cat", "/root/file"); got != "mine\n" {
		t.Errorf("its file: %s", got)
	}
	if got := d.Berth("config", "get", "c2", "volatile.uuid", "--project", "there"); got != mac {
		t.Errorf("its UUID is %s and was %s", got, mac)
	}
	d.Berth("restore", "c2", "s0", "--project", "there")
	d.Berth("stop", "-f", "c2", "--project", "there")
	d.Berth("move", "c2", "--project", "there", "--target-project", "default")
	if got := d.Berth("list", "--all-projects", "-f", "csv", "-c", "enS"); got != "default,c2,1\n" {
		t.Errorf("after the way back: %s", got)
	}
	d.Berth("delete", "c2")
}
