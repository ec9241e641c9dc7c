package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/test/harness"
)

// restricted is a daemon with the restricted project "p", in which the instance "c1" and the volume "v1" are free of all that is
// restricted. The default project has the instance "nested", the profile "nesting" and the volume "v0"; snapshots of both projects are
// of a time when p was free.
func restricted(t *testing.T) *harness.Daemon {
	t.Helper()
	d := harness.New(t).Pool().Image()
	d.Berth("profile", "create", "nesting")
	d.Berth("profile", "set", "nesting", "security.nesting=true")
	d.Berth("init", "bb", "nested", "-p", "default", "-p", "nesting")
	d.Berth("snapshot", "nested", "s0")
	d.Berth("storage", "volume", "create", "default", "v0")
	t.Cleanup(func() { d.Berth("storage", "volume", "delete", "default", "v0") })
	d.Berth("storage", "volume", "snapshot", "default", "v0", "s0")
	d.Berth("project", "create", "p", "-c", "features.images=false")
	d.Berth("profile", "device", "add", "default", "root", "disk", "path=/", "pool=default", "--project", "p")
	d.Berth("init", "bb", "c1", "--project", "p", "-c", "security.nesting=true")
	d.Berth("snapshot", "c1", "nested", "--project", "p")
	d.Berth("config", "unset", "c1", "security.nesting", "--project", "p")
	d.Berth("config", "device", "add", "c1", "old", "disk", "source=/", "path=/host", "--project", "p")
	d.Berth("snapshot", "c1", "disk", "--project", "p")
	d.Berth("config", "device", "remove", "c1", "old", "--project", "p")
	d.Berth("storage", "volume", "create", "default", "v1", "--project", "p")
	d.Berth("project", "set", "p", "restricted=true")
	return d
}

// TestNoWayAroundARestriction tries each way by which others' restrictions were got around (SECURITY.md): each is refused, and changes nothing.
func TestNoWayAroundARestriction(t *testing.T) {
	d := restricted(t)
	const (
		instances = "/1.0/instances?project=p"
		c1        = "/1.0/instances/c1?project=p"
		volumes   = "/1.0/storage-pools/default/volumes/custom"
		hostDisk  = `{"devices":{"d":{"type":"disk","source":"/","path":"/host"}}}`
		image     = `"source":{"type":"image","alias":"bb"}`
		forbidden = http.StatusForbidden
	)
	state := func() string {
		var all []string
		for _, path := range []string{c1, "/1.0/profiles/default?project=p", "/1.0/projects/p", "/1.0/instances/nested", volumes + "?project=p", volumes, "/1.0/profiles/nesting"} {
			all = append(all, string(call(t, d, "GET", path, "").Metadata))
		}
		return strings.Join(all, "\n")
	}
	before := state()
	var instance api.Instance
	if err := json.Unmarshal(call(t, d, "GET", c1, "").Metadata, &instance); err != nil {
		t.Fatal(err)
	}
	instance.Config["security.nesting"] = "true"
	put, err := json.Marshal(instance.InstancePut)
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []struct {
		name, method, path, body string
		status                   int
		text                     string
	}{
		{"create", "POST", instances, `{"name":"c2","config":{"security.nesting":"true"},` + image + `}`, forbidden, "Container nesting is forbidden"},
		{"create, privileged", "POST", instances, `{"name":"c2","config":{"security.privileged":"true"},` + image + `}`, forbidden, "Privileged containers are forbidden"},
		{"create, low-level", "POST", instances, `{"name":"c2","config":{"raw.lxc":"lxc.log.level=1"},` + image + `}`, forbidden, "raw.lxc"},
		{"create, IDs", "POST", instances, `{"name":"c2","config":{"raw.idmap":"both 0 0"},` + image + `}`, forbidden, `"raw.idmap" element 0`},
		{"create, volatile", "POST", instances, `{"name":"c2","config":{"volatile.idmap.next":"[]"},` + image + `}`, forbidden, "volatile.idmap.next"},
		{"create, disk", "POST", instances, `{"name":"c2",` + image + `,` + hostDisk[1:], forbidden, "not backed by a pool is forbidden"},
		{"create, root disk", "POST", instances, `{"name":"c2",` + image + `,"devices":{"root":{"type":"disk","path":"/","pool":"default","propagation":"shared"}}}`, forbidden, `"propagation" is forbidden`},
		{"copy from another project", "POST", instances, `{"name":"c2","source":{"type":"copy","source":"nested","project":"default"},"profiles":["default"],"config":{"security.nesting":"true"}}`, forbidden, "forbidden"},
		{"copy of a snapshot", "POST", instances, `{"name":"c2","source":{"type":"copy","source":"c1/nested"}}`, forbidden, "Container nesting is forbidden"},
		{"copy of a snapshot, disk", "POST", instances, `{"name":"c2","source":{"type":"copy","source":"c1/disk"}}`, forbidden, "not backed by a pool is forbidden"},
		{"copy with snapshots", "POST", instances, `{"name":"c2","source":{"type":"copy","source":"c1"}}`, forbidden, "doesn't allow for snapshot creation"},
		{"refresh", "POST", instances, `{"name":"c1","config":{"security.nesting":"true"},"source":{"type":"copy","source":"nested","project":"default","refresh":true}}`, forbidden, "forbidden"},
		{"refresh with snapshots", "POST", instances, `{"name":"c1","source":{"type":"copy","source":"nested","project":"default","refresh":true}}`, forbidden, "doesn't allow for snapshot creation"},
		{"move to the project", "POST", "/1.0/instances/nested", `{"name":"nested","migration":true,"project":"p"}`, http.StatusBadRequest, `"nesting" doesn't exist`},
		{"restore", "PUT", c1, `{"restore":"nested"}`, forbidden, "Container nesting is forbidden"},
		{"restore, disk", "PUT", c1, `{"restore":"disk"}`, forbidden, "not backed by a pool is forbidden"},
		{"snapshot", "POST", "/1.0/instances/c1/snapshots?project=p", `{"name":"s1"}`, forbidden, "doesn't allow for snapshot creation"},
		{"rebuild", "POST", "/1.0/instances/c1/rebuild?project=p", `{"source":{"type":"image","alias":"bb"}}`, http.StatusNotFound, ""},
		{"backup", "POST", "/1.0/instances/c1/backups?project=p", `{"name":"b0"}`, http.StatusNotFound, ""},
		{"migration", "POST", instances, `{"name":"c2","source":{"type":"migration","mode":"push"}}`, http.StatusNotImplemented, ""},
		{"PUT of an instance", "PUT", c1, string(put), forbidden, "Container nesting is forbidden"},
		{"PATCH of an instance", "PATCH", c1, `{"config":{"raw.seccomp":"2"}}`, forbidden, "raw.seccomp"},
		{"PATCH of a device", "PATCH", c1, hostDisk, forbidden, "not backed by a pool is forbidden"},
		{"PATCH of a device, NIC", "PATCH", c1, `{"devices":{"eth0":{"type":"nic","nictype":"p2p"}}}`, forbidden, "Only managed network devices are allowed"},
		{"PATCH of a device, routes", "PATCH", c1, `{"devices":{"eth0":{"type":"nic","network":"none","ipv4.routes":"10.0.0.0/8"}}}`, forbidden, "ipv4.routes"},
		{"a device of another type", "PATCH", c1, `{"devices":{"d":{"type":"unix-char","source":"/dev/kmsg"}}}`, forbidden, `"unix-char" are forbidden`},
		{"a volume by its path", "PATCH", c1, `{"devices":{"d":{"type":"disk","pool":"default","source":"../../containers/nested","path":"/d"}}}`, http.StatusNotFound, ""},
		{"a volume of another project", "PATCH", c1, `{"devices":{"d":{"type":"disk","pool":"default","source":"v0","path":"/d"}}}`, http.StatusNotFound, "not found"},
		{"mount options of a volume", "PATCH", c1, `{"devices":{"d":{"type":"disk","pool":"default","source":"v1","path":"/d","raw.mount.options":"suid"}}}`, forbidden, "raw.mount.options"},
		{"edit of a profile", "PUT", "/1.0/profiles/default?project=p", `{"config":{"security.nesting":"true"}}`, forbidden, "Container nesting is forbidden"},
		{"PATCH of a profile", "PATCH", "/1.0/profiles/default?project=p", hostDisk, forbidden, "not backed by a pool is forbidden"},
		{"a new profile", "POST", "/1.0/profiles?project=p", `{"name":"x","config":{"security.privileged":"true"}}`, forbidden, "Privileged containers are forbidden"},
		{"another project's profile", "PATCH", c1, `{"profiles":["default","nesting"]}`, http.StatusBadRequest, `"nesting" doesn't exist`},
		{"other features", "PATCH", "/1.0/projects/p", `{"config":{"features.profiles":"false"}}`, http.StatusBadRequest, "cannot be restricted"},
		{"the default project's volumes", "PATCH", "/1.0/projects/p", `{"config":{"features.storage.volumes":"false"}}`, http.StatusBadRequest, "non-empty"},
		{"a volume with its snapshots", "POST", volumes + "?project=p", `{"name":"v2","source":{"type":"copy","name":"v0","pool":"default","project":"default"}}`, forbidden, "doesn't allow for snapshot creation"},
		{"a volume moved with its snapshots", "POST", volumes + "/v0", `{"name":"v0","pool":"default","project":"p"}`, forbidden, "doesn't allow for snapshot creation"},
		{"a snapshot of a volume", "POST", volumes + "/v1/snapshots?project=p", `{"name":"s1"}`, forbidden, "doesn't allow for snapshot creation"},
	} {
		a := finish(t, d, call(t, d, way.method, way.path, way.body))
		if a.ErrorCode != way.status || !strings.Contains(a.Error, way.text) {
			t.Errorf("%s: %d %s, not %d %s", way.name, a.ErrorCode, a.Error, way.status, way.text)
		}
	}
	if after := state(); after != before {
		t.Errorf("what was refused has changed something:\n%s\nbefore:\n%s", after, before)
	}
	if got := d.Berth("list", "--all-projects", "-f", "csv", "-c", "en"); got != "default,nested\np,c1\n" {
		t.Errorf("what was refused is there: %s", got)
	}
}

// TestAnImageBringsNothingRestricted: whatever its properties say, they are notes of the instance; and its templates read no files.
func TestAnImageBringsNothingRestricted(t *testing.T) {
	d := restricted(t)
	fingerprint := strings.TrimSpace(d.Berth("image", "list", "bb", "-f", "csv", "-c", "F"))
	d.Berth("image", "set-property", fingerprint, "security.nesting", "true")
	d.Berth("image", "set-property", fingerprint, "requirements.privileged", "true")
	d.Berth("image", "set-property", fingerprint, "volatile.idmap.next", "[]")
	d.Berth("init", "bb", "c2", "--project", "p")
	for _, line := range strings.Split(d.Berth("config", "show", "c2", "--project", "p"), "\n") {
		for _, key := range []string{"security.", "requirements.", "volatile.idmap.next: '[]'"} {
			if strings.HasPrefix(strings.TrimSpace(line), key) {
				t.Errorf("the image has brought %s", line)
			}
		}
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%s{%% include %q %%}{%% ssi %q %%}", "begin", secret, secret)
	if _, err := d.TryInput(text, harness.Program("berth"), "config", "template", "edit", "c2", "t.tpl", "--project", "p"); err != nil {
		d.Berth("config", "template", "create", "c2", "t.tpl", "--project", "p")
		if out, err := d.TryInput(text, harness.Program("berth"), "config", "template", "edit", "c2", "t.tpl", "--project", "p"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	metadata := "architecture: x86_64\ncreation_date: 1\ntemplates:\n  /root/t:\n    when: [start]\n    template: t.tpl\n"
	if out, err := d.TryInput(metadata, harness.Program("berth"), "config", "metadata", "edit", "c2", "--project", "p"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := d.Try(harness.Program("berth"), "start", "c2", "--project", "p"); err == nil { // it may be refused, too
		if out, _ := d.Try(harness.Program("berth"), "exec", "c2", "--project", "p", "--", "cat", "/root/t"); strings.Contains(out, "secret") {
			t.Errorf("a template has read a file of the host: %s", out)
		}
	}
}

// TestADiskIsHeldToItsFolders follows a disk whose project names the folders of the host that there may be disks from.
func TestADiskIsHeldToItsFolders(t *testing.T) {
	d := harness.New(t).Pool().Image()
	top := t.TempDir()
	in, out := filepath.Join(top, "in"), filepath.Join(top, "out")
	for _, dir := range []string{top, in, out, filepath.Join(in, "sub")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte(filepath.Base(dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(top), 0o755); err != nil {
		t.Fatal(err)
	}
	d.Berth("project", "create", "p", "-c", "features.images=false", "-c", "restricted=true", "-c", "restricted.devices.disk=allow", "-c", "restricted.devices.disk.paths=/no/such,"+in)
	d.Berth("profile", "device", "add", "default", "root", "disk", "path=/", "pool=default", "--project", "p")
	d.Berth("init", "bb", "c1", "--project", "p")
	device := func(verb string, args ...string) []string {
		return append(append([]string{"config", "device", verb, "c1", "d"}, args...), "--project", "p")
	}
	for _, source := range []string{out, in + "/../out", in + "x", "/", top} {
		if got := d.BerthFails(device("add", "disk", "path=/mnt", "source="+source)...); !strings.Contains(got, fmt.Sprintf("Disk source path %q not allowed", source)) {
			t.Errorf("%s: %s", source, got)
		}
	}
	d.Stock(device("add", "disk", "path=/mnt", "source="+in)...)
	d.Berth("start", "c1", "--project", "p")
	inside := func(want string) {
		t.Helper()
		if got := d.Berth("exec", "c1", "--project", "p", "--", "cat", "/mnt/file"); got != want {
			t.Errorf("the disk shows %q, not %q", got, want)
		}
	}
	inside("in")
	d.Restart()
	// The guest writes to the folder, and so makes links that lead where it likes.
	d.Berth("exec", "c1", "--project", "p", "--", "sh", "-c", "ln -s "+out+" /mnt/absolute; ln -s ../out /mnt/up; ln -s sub /mnt/link")
	for _, link := range []string{"absolute", "up"} {
		if got := d.BerthFails(device("set", "source="+in+"/"+link)...); !strings.Contains(got, "resolves outside of restricted parent source path") {
			t.Errorf("%s: %s", link, got)
		}
		inside("in")
	}
	if got := d.BerthFails(device("set", "shift=true")...); !strings.Contains(got, `"shift" property cannot be used`) {
		t.Errorf("shift: %s", got)
	}
	inside("in")
	d.Berth(device("set", "source="+in+"/link")...)
	inside("sub")
	d.Berth("stop", "-f", "c1", "--project", "p")
	if err := os.Rename(in+"/sub", in+"/away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(out, in+"/sub"); err != nil {
		t.Fatal(err)
	}
	if got := d.BerthFails("start", "c1", "--project", "p"); !strings.Contains(got, "resolves outside of restricted parent source path") {
		t.Errorf("a folder that has become a link: %s", got)
	}
	d.Berth(device("remove")...)
	if left, _ := filepath.Glob(d.Dir + "/devices/*"); len(left) > 0 {
		t.Errorf("left on the host: %q", left)
	}
	d.Berth("delete", "c1", "--project", "p")
}
