package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/test/harness"
)

// withNIC starts a daemon and c1, with a NIC that has addresses and routes which nobody but c1 knows of.
func withNIC(t *testing.T) *harness.Daemon {
	d := harness.New(t).Pool().Image()
	d.Berth("network", "create", "lv0", "ipv4.address=10.98.7.1/24", "ipv4.nat=false", "ipv6.address=none")
	d.Berth("init", "bb", "c1", "-c", "limits.memory=64MiB")
	d.Berth("config", "device", "add", "c1", "eth0", "nic", "network=lv0", "name=eth0", "hwaddr=00:16:3e:00:00:01")
	d.Berth("start", "c1")
	// Until its DHCP client has an address, it takes away any other.
	harness.Eventually(t, 30*time.Second, "c1 has an address", func() bool {
		return strings.Contains(d.Berth("exec", "c1", "--", "ip", "-o", "-4", "address", "show", "dev", "eth0"), "10.98.7.")
	})
	d.Berth("exec", "c1", "--", "ip", "address", "add", "10.98.7.77/24", "dev", "eth0")
	d.Berth("exec", "c1", "--", "ip", "route", "add", "10.9.0.0/16", "via", "10.98.7.1")
	return d
}

// within is what c1 has that a change of it may touch.
func within(d *harness.Daemon) string {
	out := ""
	for _, args := range []string{"ip route", "ip -o -4 address show dev eth0", "ip -o link show dev eth0"} {
		out += d.Berth(append([]string{"exec", "c1", "--"}, strings.Fields(args)...)...)
	}
	// Its index, and that of the other end, are another's.
	lines := strings.Split(out, "\n")
	for n, l := range lines {
		if _, after, ok := strings.Cut(l, ": eth0"); ok {
			_, lines[n], _ = strings.Cut(after, "<")
		}
	}
	return strings.Join(lines, "\n") + memoryLimit(d, "c1")
}

func memoryLimit(d *harness.Daemon, name string) string {
	for _, l := range d.HostLeftovers() {
		if group, ok := strings.CutPrefix(l, "cgroup "); ok && strings.HasSuffix(group, "."+name) {
			for _, file := range []string{"memory.limit_in_bytes", "memory.max"} {
				if data, err := os.ReadFile(filepath.Join(group, file)); err == nil {
					return string(data)
				}
			}
		}
	}
	return "no group"
}

// TestAFailedChangeOfWhatRunsChangesNothing: neither its devices, with all that the guest has made of them, nor limits.
func TestAFailedChangeOfWhatRunsChangesNothing(t *testing.T) {
	d := withNIC(t)
	before, record := within(d), d.Berth("config", "show", "c1")
	d.BerthFails("config", "device", "set", "c1", "eth0", "host_name=lv0") // the name of its bridge
	for _, body := range []string{
		`{"config":{"limits.memory":"128MiB"},"devices":{"bad":{"type":"disk","source":"/var/tmp","path":"/proc/1/x"}}}`,
		`{"config":{"limits.memory":"128MiB"},"devices":{"bad":{"type":"disk","source":"/var/tmp","path":"/proc/1/x"},"eth0":{"type":"nic","network":"lv0","name":"eth0","hwaddr":"00:16:3e:00:00:02"}}}`,
	} {
		d.BerthFails("query", "-X", "PATCH", "-d", body, "/1.0/instances/c1")
	}
	if now := within(d); now != before {
		t.Errorf("inside is\n%s\nand was\n%s", now, before)
	}
	if now := d.Berth("config", "show", "c1"); now != record {
		t.Errorf("the record is\n%s\nand was\n%s", now, record)
	}
	d.Berth("config", "device", "set", "c1", "eth0", "hwaddr=00:16:3e:00:00:02")
	if links := d.Berth("exec", "c1", "--", "ip", "-o", "link"); strings.Count(links, ": eth0") != 1 || !strings.Contains(links, "00:16:3e:00:00:02") {
		t.Errorf("after a change that can be made: %s", links)
	}
	d.Berth("delete", "-f", "c1")
	d.Berth("network", "delete", "lv0")
}

// TestAVolumeInUseIsInUseAfterARestart of the daemon, by kill.
func TestAVolumeInUseIsInUseAfterARestart(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("storage", "volume", "create", "default", "v1")
	d.Berth("launch", "bb", "c1")
	d.Berth("storage", "volume", "attach", "default", "v1", "c1", "/mnt")
	d.Berth("storage", "volume", "snapshot", "default", "v1", "s1")
	d.Berth("exec", "c1", "--", "touch", "/mnt/since")
	for range 2 {
		if msg := d.BerthFails("storage", "volume", "restore", "default", "v1", "s1"); !strings.Contains(msg, "used by running instances") {
			t.Errorf("the error is %s", msg)
		}
		d.Berth("exec", "c1", "--", "test", "-e", "/mnt/since")
		d.Restart()
	}
	// It is let go when the device goes.
	d.Berth("config", "device", "remove", "c1", "v1")
	d.Berth("storage", "volume", "restore", "default", "v1", "s1")
	d.Berth("delete", "-f", "c1")
	d.Berth("storage", "volume", "delete", "default", "v1")
}

// TestAVolumeWhosePoolWasAwayIsNotRestoredUnderAGuest: the daemon was killed, and its pool was not there when it started again. The guest has the volume
// all the same.
func TestAVolumeWhosePoolWasAwayIsNotRestoredUnderAGuest(t *testing.T) {
	d := harness.New(t).Pool().Image()
	disk, pool := t.TempDir(), filepath.Join(d.Dir, "storage-pools/ext")
	if err := unix.Mount("ext", disk, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Unmount(pool, unix.MNT_DETACH)
		_ = unix.Unmount(disk, unix.MNT_DETACH)
	})
	d.Berth("storage", "create", "ext", "dir", "source="+disk)
	d.Berth("storage", "volume", "create", "ext", "v1")
	d.Berth("launch", "bb", "c1")
	d.Berth("storage", "volume", "attach", "ext", "v1", "c1", "/mnt")
	d.Berth("storage", "volume", "snapshot", "ext", "v1", "s1")
	d.Berth("exec", "c1", "--", "touch", "/mnt/since")
	keep, err := unix.OpenTree(unix.AT_FDCWD, disk, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	d.Kill()
	for _, path := range []string{pool, disk} {
		if err := unix.Unmount(path, 0); err != nil {
			t.Fatal(err)
		}
	}
	d.Start()
	if err := errors.Join(unix.MoveMount(keep, "", unix.AT_FDCWD, disk, unix.MOVE_MOUNT_F_EMPTY_PATH), unix.Close(keep)); err != nil {
		t.Fatal(err)
	}
	if msg := d.BerthFails("storage", "volume", "restore", "ext", "v1", "s1"); !strings.Contains(msg, "used by running instances") {
		t.Errorf("the error is %s", msg)
	}
	d.Berth("exec", "c1", "--", "test", "-e", "/mnt/since")
	d.Berth("stop", "-f", "c1")
	d.Berth("storage", "volume", "restore", "ext", "v1", "s1")
	d.Berth("delete", "c1")
	d.Berth("storage", "volume", "delete", "ext", "v1")
	d.Berth("storage", "delete", "ext")
}

// TestARestoreThatCannotBeDoesNotStopTheInstance: what it would be restored from has gone from the pool.
func TestARestoreThatCannotBeDoesNotStopTheInstance(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	d.Berth("snapshot", "c1", "s1")
	pid := initPID(d, "c1")
	at := filepath.Join(d.Dir, "storage-pools/default/containers-snapshots/c1/s1")
	if err := os.Rename(at, at+"-away"); err != nil {
		t.Fatal(err)
	}
	d.BerthFails("restore", "c1", "s1")
	if now := initPID(d, "c1"); now != pid {
		t.Errorf("init was %d and is %d", pid, now)
	}
	if err := os.Rename(at+"-away", at); err != nil {
		t.Fatal(err)
	}
	d.Berth("exec", "c1", "--", "touch", "/root/since")
	d.Berth("restore", "c1", "s1")
	wantStatus(d, "c1", "RUNNING")
	if _, err := d.Try(harness.Program("berth"), "exec", "c1", "--", "test", "-e", "/root/since"); err == nil {
		t.Error("the content was not restored")
	}
	d.Berth("delete", "-f", "c1")
}

// TestSnapshotsMayHaveNamesThatLookLikeOurs, as with LXD.
func TestSnapshotsMayHaveNamesThatLookLikeOurs(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("init", "bb", "c1")
	d.Berth("storage", "volume", "create", "default", "v1")
	d.Berth("snapshot", "c1", ".tmp-x")
	d.Berth("storage", "volume", "snapshot", "default", "v1", ".tmp-x")
	d.Restart()
	d.Berth("restore", "c1", ".tmp-x")
	d.Berth("storage", "volume", "restore", "default", "v1", ".tmp-x")
	for _, args := range []string{"snapshot c1 |.tmp x", "storage volume snapshot default v1 |.tmp x", "storage volume create default |.tmp x"} {
		before, name, _ := strings.Cut(args, "|")
		if msg := d.BerthFails(append(strings.Fields(before), name)...); !strings.Contains(msg, "space") {
			t.Errorf("%s: %s", args, msg)
		}
	}
	d.Berth("delete", "c1")
	d.Berth("storage", "volume", "delete", "default", "v1")
}

// TestAPoolWhoseDeletionFailsIsThereAgain, wherever it is kept: all in it was removed by then.
func TestAPoolWhoseDeletionFailsIsThereAgain(t *testing.T) {
	for name, source := range map[string]string{"the daemon's own folder": "", "a source": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			d := harness.New(t, "BERTH_FAULT=storage.pool.delete.removed=error@1")
			create := []string{"storage", "create", "p", "dir"}
			if source != "" {
				create = append(create, "source="+source)
			}
			d.Berth(create...)
			d.BerthFails("storage", "delete", "p")
			d.Berth("storage", "volume", "create", "p", "v")
			d.Berth("storage", "volume", "delete", "p", "v")
			d.Berth("storage", "delete", "p")
		})
	}
}
