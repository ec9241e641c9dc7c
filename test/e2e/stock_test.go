package e2e

import (
	"strings"
	"testing"

	"github.com/berthd/berth/test/harness"
)

// TestStockClientDoesAllOfIt is the quick tour with Debian's own lxc, verb by verb.
func TestStockClientDoesAllOfIt(t *testing.T) {
	d := harness.New(t)
	lxc := d.Stock
	lxc("storage", "create", "default", "dir")
	lxc("storage", "list")
	lxc("storage", "info", "default")
	lxc("profile", "device", "add", "default", "root", "disk", "path=/", "pool=default")
	lxc("network", "create", "br0", "ipv4.address=10.199.8.1/24", "ipv6.address=none")
	lxc("network", "list")
	lxc("network", "show", "br0")
	lxc("network", "info", "br0")
	lxc("profile", "device", "add", "default", "eth0", "nic", "network=br0", "name=eth0")
	lxc("image", "import", harness.Busybox(t), "--alias", "bb")
	lxc("image", "list")
	lxc("image", "info", "bb")
	lxc("image", "alias", "create", "other", strings.Fields(strings.TrimPrefix(lxc("image", "info", "bb"), "Fingerprint: "))[0])
	lxc("image", "alias", "list")
	lxc("launch", "bb", "c1")
	lxc("list")
	lxc("list", "--format", "json")
	lxc("info", "c1")
	lxc("config", "set", "c1", "limits.memory", "100MiB")
	if got := lxc("config", "get", "c1", "limits.memory"); got != "100MiB\n" {
		t.Errorf("config get: %q", got)
	}
	lxc("config", "show", "c1", "--expanded")
	lxc("config", "device", "add", "c1", "tmp", "disk", "source=/tmp", "path=/mnt", "readonly=true")
	lxc("config", "device", "list", "c1")
	lxc("config", "device", "remove", "c1", "tmp")
	lxc("exec", "c1", "--", "true")
	lxc("file", "push", "/etc/hostname", "c1/root/h")
	lxc("file", "pull", "c1/root/h", "-")
	lxc("snapshot", "c1", "s1")
	lxc("copy", "c1/s1", "c2")
	lxc("pause", "c1")
	lxc("start", "c1")
	lxc("stop", "c1", "--force")
	lxc("restore", "c1", "s1")
	lxc("move", "c1", "c3")
	lxc("start", "c3")
	lxc("restart", "c3", "--force")
	lxc("operation", "list")
	lxc("warning", "list")
	lxc("profile", "list")
	lxc("profile", "copy", "default", "p2")
	lxc("profile", "show", "p2")
	lxc("profile", "delete", "p2")
	lxc("project", "list")
	lxc("config", "trust", "list")
	lxc("info", "--resources")
	lxc("query", "/1.0")
	lxc("delete", "--force", "c3")
	lxc("delete", "c2")
}

const pylxd = `
import os, pylxd
c = pylxd.Client(endpoint="http+unix://" + os.environ["LXD_DIR"].replace("/", "%2F") + "%2Funix.socket")
assert c.trusted
img = c.images.get_by_alias("bb")
i = c.containers.create({"name": "py", "source": {"type": "image", "alias": "bb"}}, wait=True)
i.start(wait=True)
r = i.execute(["sh", "-c", "echo out; echo err >&2; exit 5"])
assert (r.exit_code, r.stdout, r.stderr) == (5, "out\n", "err\n"), r
i.files.put("/root/x", b"data")
assert i.files.get("/root/x") == b"data"
assert i.state().status == "Running", i.state().status
i.config["limits.memory"] = "64MiB"
i.save(wait=True)
assert c.containers.get("py").config["limits.memory"] == "64MiB"
i.snapshots.create("s1", wait=True)
assert [s.name for s in i.snapshots.all()] == ["s1"]
i.freeze(wait=True); i.unfreeze(wait=True)
i.stop(force=True, wait=True)
i.rename("py2", wait=True)
i = c.containers.get("py2")
i.snapshots.get("s1").delete(wait=True)
i.delete(wait=True)
p = c.profiles.create("pp", config={"user.a": "b"})
assert c.profiles.get("pp").config["user.a"] == "b"
p.delete()
assert [p.name for p in c.storage_pools.all()] == ["default"]
print("ok")
`

func TestPylxdDoesItsPart(t *testing.T) {
	d := harness.New(t).Pool().Image()
	out, err := d.TryInput(pylxd, "/usr/bin/python3", "-")
	if err != nil || out != "ok\n" {
		t.Fatalf("pylxd: %q, %v\n%s", out, err, d.Log())
	}
}
