package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/berthd/berth/test/harness"
)

// onDisk is who owns a file of an instance's on the host.
func onDisk(d *harness.Daemon, name, file string) uint32 {
	d.T.Helper()
	st, err := os.Lstat(filepath.Join(d.Dir, "storage-pools/default/containers", name, "rootfs", file))
	if err != nil {
		d.T.Fatal(err)
	}
	return st.Sys().(*syscall.Stat_t).Uid
}

func TestFilesAreShiftedWhereMountsCannotBeMapped(t *testing.T) {
	d := harness.Prepare(t)
	d.Start("BERTH_IDMAPPED_MOUNTS_DISABLE=1")
	d.Pool().Image()
	inside := func(name string) {
		t.Helper()
		if got := d.Berth("exec", name, "--", "stat", "-c", "%u:%g", "/", "/etc/hostname", "/bin/busybox"); got != "0:0\n0:0\n0:0\n" {
			t.Errorf("%s: owners inside are %q", name, got)
		}
		d.Berth("exec", name, "--", "sh", "-c", "echo x > /root/mine && rm /root/mine && hostname")
	}
	d.Berth("launch", "bb", "c1")
	inside("c1")
	base := onDisk(d, "c1", "bin/busybox")
	if base == 0 {
		t.Fatal("the files were not shifted")
	}
	d.Berth("exec", "c1", "--", "sh", "-c", "echo data > /root/f && chown 33:33 /root/f")
	d.Berth("snapshot", "c1", "s1")
	d.Berth("copy", "c1/s1", "c2")
	d.Berth("start", "c2")
	inside("c2")

	// The files of a stopped instance are reached as it sees them.
	d.Berth("stop", "--force", "c1")
	if got := d.Berth("query", "/1.0/instances/c1"); !strings.Contains(got, `"volatile.last_state.idmap": "[{`) {
		t.Errorf("the instance does not remember its map: %s", got)
	}
	if _, err := d.TryInput("pushed", harness.Program("berth"), "file", "push", "--uid", "5", "-", "c1/root/p"); err != nil {
		t.Fatal(err)
	}
	if got := onDisk(d, "c1", "root/p"); got != base+5 {
		t.Errorf("a pushed file belongs to %d on disk, want %d", got, base+5)
	}

	// An image of it is not shifted.
	d.Berth("publish", "c1", "--alias", "made")
	d.Berth("launch", "made", "c3", "-c", "security.privileged=true")
	inside("c3")
	if got := d.Berth("exec", "c3", "--", "stat", "-c", "%u", "/root/f", "/root/p"); got != "33\n5\n" {
		t.Errorf("owners in an instance of the image: %q", got)
	}

	// There and back.
	d.Berth("config", "set", "c1", "security.privileged", "true")
	d.Berth("start", "c1")
	inside("c1")
	if got := onDisk(d, "c1", "root/f"); got != 33 {
		t.Errorf("a privileged instance's file belongs to %d", got)
	}
	d.Berth("stop", "--force", "c1")
	d.Berth("restore", "c1", "s1")
	d.Berth("config", "set", "c1", "security.idmap.isolated", "true")
	d.Berth("start", "c1")
	inside("c1")
	d.Berth("stop", "--force", "c1")
	d.Restart() // with mapped mounts
	d.Berth("start", "c1")
	inside("c1")
	if got := onDisk(d, "c1", "root/f"); got != 33 {
		t.Errorf("with mapped mounts the file belongs to %d", got)
	}
	if got := d.Berth("exec", "c1", "--", "stat", "-c", "%u", "/root/f"); got != "33\n" {
		t.Errorf("inside, the file belongs to %s", got)
	}
	d.Berth("delete", "--force", "c1", "c2", "c3")
}
