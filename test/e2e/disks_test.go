package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

// TestDisksBeneathEachOther: a parent that is plugged in over a mounted child covered it, and what was written there went to the parent.
func TestDisksBeneathEachOther(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("storage", "volume", "create", "default", "vol")
	vol := filepath.Join(d.Dir, "storage-pools/default/custom/default_vol")
	sub := filepath.Join(d.Dir, "sub")
	if err := os.Mkdir(sub, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(sub, 0o777); err != nil {
		t.Fatal(err)
	}
	d.Berth("launch", "bb", "c1")
	writes := func(name string, parent, child bool) {
		t.Helper()
		d.Berth("exec", "c1", "--", "sh", "-c", "mkdir -p /mnt/vol/sub; touch /mnt/vol/"+name+" /mnt/vol/sub/"+name)
		for dir, want := range map[string]bool{vol: parent, sub: child} {
			if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
				t.Errorf("%s in %s: %v", name, dir, err)
			}
		}
		if _, err := os.Stat(filepath.Join(vol, "sub", name)); err == nil {
			t.Errorf("%s went to the parent", name)
		}
	}
	child := []string{"config", "device", "add", "c1", "child", "disk", "source=" + sub, "path=/mnt/vol/sub"}
	parent := []string{"config", "device", "add", "c1", "parent", "disk", "pool=default", "source=vol", "path=/mnt/vol"}
	d.Berth(child...)
	writes("alone", false, true)
	d.Berth(parent...)
	writes("both", true, true)
	d.Berth("config", "device", "set", "c1", "parent", "raw.mount.options=noatime")
	writes("changed", true, true)
	d.Kill()
	d.Start()
	writes("restarted", true, true)
	d.Berth("restart", "-f", "c1")
	writes("cold", true, true)
	d.Berth("config", "device", "remove", "c1", "parent")
	writes("without", false, true)
	// A change that fails leaves both as they were.
	d.Berth(parent...)
	d.BerthFails("query", "-X", "PATCH", "-d", `{"devices":{"parent":{"type":"disk","source":"`+sub+`","path":"/proc/1/x"},"child":{"type":"disk","source":"`+sub+`","path":"/mnt/vol/sub"}}}`, "/1.0/instances/c1")
	writes("back", true, true)
	d.Berth("config", "device", "remove", "c1", "child")
	if mounts := d.Berth("exec", "c1", "--", "cat", "/proc/self/mountinfo"); strings.Contains(mounts, " /mnt/vol/sub ") || !strings.Contains(mounts, " /mnt/vol ") {
		t.Errorf("mounts inside:\n%s", mounts)
	}
	d.Berth("delete", "-f", "c1")
	d.Berth("storage", "volume", "delete", "default", "vol")
}

// TestADiskGoesWhereAServiceHasARootOfItsOwn: systemd gives services a mount namespace with another root over its first one.
func TestADiskGoesWhereAServiceHasARootOfItsOwn(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	d.Berth("config", "device", "add", "c1", "data", "disk", "source="+t.TempDir(), "path=/mnt/data")
	d.Berth("exec", "c1", "--", "sh", "-c", `mkdir -p /tmp/r; (unshare -m sh -c 'mount --make-rslave / && mount --rbind / /tmp/r && cd /tmp/r && mount --move /tmp/r / && exec chroot . sh -c "touch /ready; exec sleep 1000"' < /dev/null > /dev/null 2>&1 &)`)
	harness.Eventually(t, 20*time.Second, "the service runs", func() bool {
		_, err := d.Try(harness.Program("berth"), "exec", "c1", "--", "test", "-e", "/ready")
		return err == nil
	})
	d.Berth("config", "device", "remove", "c1", "data")
	if out := d.Berth("exec", "c1", "--", "cat", "/proc/self/mountinfo"); strings.Contains(out, "/mnt/data") {
		t.Errorf("it is mounted still:\n%s", out)
	}
	d.Berth("delete", "-f", "c1")
}
