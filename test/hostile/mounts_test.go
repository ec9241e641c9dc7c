package hostile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// folder is a folder of the host that anyone may write to.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "berth-hostile-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func unharmed(t *testing.T, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the guest wrote to %s of the host: %v, %v", dir, entries, err)
	}
}

// volume makes the custom volume "data", if there is none yet, and returns where it lies on the host.
func (g *guest) volume() string {
	g.t.Helper()
	at := filepath.Join(g.Dir, "storage-pools/default/custom/default_data")
	if !exists(at) {
		g.Berth("storage", "volume", "create", "default", "data")
	}
	return at
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

const locked = "the mount's options were locked on the host's side"

func TestReadOnlyDisks(t *testing.T) {
	dir := folder(t)
	eachKind(t, func(g *guest) {
		g.Berth("config", "device", "add", g.name, "cold", "disk", "source="+dir, "path=/cold", "readonly=true")
		g.Berth("config", "device", "add", g.name, "raw", "disk", "source="+dir, "path=/raw", "raw.mount.options=ro,nosuid,noexec")
		if !g.privileged {
			g.Berth("config", "device", "add", g.name, "mapped", "disk", "source="+dir, "path=/mapped", "readonly=true", "shift=true")
		}
		g.volume()
		g.Berth("config", "device", "add", g.name, "data", "disk", "pool=default", "source=data", "path=/data", "readonly=true")
	}, func(g *guest) {
		t := g.t
		g.Berth("config", "device", "add", g.name, "hot", "disk", "source="+dir, "path=/hot", "readonly=true")
		paths := []string{"/cold", "/raw", "/hot", "/data"}
		if !g.privileged {
			paths = append(paths, "/mapped")
		}
		for _, path := range paths {
			g.mustFail(locked, "write-readonly", path)
		}
		unharmed(t, dir)
		unharmed(t, g.volume())
		// What is taken away is away, and nothing of it stays on the host.
		for _, device := range []string{"cold", "hot", "raw"} {
			g.Berth("config", "device", "remove", g.name, device)
			out := g.Berth("exec", g.name, "--", "sh", "-c", "cat /proc/self/mountinfo")
			if strings.Contains(out, " /"+device+" ") {
				t.Errorf("%s is still mounted inside", device)
			}
		}
		raw, _ := os.ReadFile("/proc/self/mountinfo")
		if strings.Contains(string(raw), g.Dir+"/run") || strings.Contains(string(raw), g.Dir+"/devices") {
			t.Errorf("mounts of a running guest are on the host:\n%s", raw)
		}
		g.Berth("stop", "--force", g.name)
	})
}

func TestReadOnlyRoot(t *testing.T) {
	eachKind(t, func(g *guest) {
		g.Berth("config", "device", "override", g.name, "root", "readonly=true")
	}, func(g *guest) {
		g.mustFail(locked, "write-readonly", "/")
		if _, err := os.Lstat(filepath.Join(g.Dir, "storage-pools/default/containers", g.name, "rootfs/mine")); err == nil {
			g.t.Error("the guest wrote to its root on the host")
		}
	})
}

// A killed daemon leaves nothing, and its successor keeps what the guest has read-only.
func TestReadOnlyDisksAfterAKill(t *testing.T) {
	dir := folder(t)
	eachKind(t, func(g *guest) {
		g.Berth("config", "device", "add", g.name, "cold", "disk", "source="+dir, "path=/cold", "readonly=true")
	}, func(g *guest) {
		g.Restart()
		g.mustFail(locked, "write-readonly", "/cold")
		g.Berth("config", "device", "add", g.name, "hot", "disk", "source="+dir, "path=/hot", "readonly=true")
		g.mustFail(locked, "write-readonly", "/hot")
		g.Berth("restart", "--force", g.name)
		g.mustFail(locked, "write-readonly", "/hot")
		unharmed(g.t, dir)
	})
}

// hostDisk is a block device of the host that a file system is mounted from: major, minor, kind of the file system.
func hostDisk(t *testing.T) (major, minor, kind string) {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		left, right, _ := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) > 2 && len(r) > 1 && strings.HasPrefix(r[1], "/dev/") {
			if major, minor, _ = strings.Cut(l[2], ":"); major != "0" {
				return major, minor, r[0]
			}
		}
	}
	t.Skip("this host has no disk")
	return "", "", ""
}

func TestDeviceNodes(t *testing.T) {
	major, minor, kind := hostDisk(t)
	node := func(path string) {
		t.Helper()
		var a, b uint32
		if _, err := fmt.Sscan(major+" "+minor, &a, &b); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mknod(path, unix.S_IFBLK|0o666, int(unix.Mkdev(a, b))); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	shared := folder(t)
	node(filepath.Join(shared, "disk"))
	for _, nesting := range []string{"false", "true"} {
		t.Run("nesting="+nesting, func(t *testing.T) {
			by := "the rules for devices, and nodev"
			if nesting == "true" {
				by = "the rules for devices"
			}
			eachKind(t, func(g *guest) {
				rootfs := filepath.Join(g.Dir, "storage-pools/default/containers", g.name, "rootfs")
				node(filepath.Join(rootfs, "disk"))
				g.Berth("config", "device", "add", g.name, "shared", "disk", "source="+shared, "path=/shared")
				if at := filepath.Join(g.volume(), "disk"); !exists(at) {
					node(at)
				}
				g.Berth("config", "device", "add", g.name, "data", "disk", "pool=default", "source=data", "path=/data")
			}, func(g *guest) {
				g.Berth("config", "device", "add", g.name, "hot", "disk", "source="+shared, "path=/hot")
				for _, path := range []string{"/disk", "/shared/disk", "/data/disk", "/hot/disk"} {
					g.mustFail(by, "use-node", path)
				}
				by := "the rules for devices, and the AppArmor profile's for mounts"
				if !g.privileged {
					by = "the user namespace: no mknod in it"
				}
				g.needsAppArmor()
				g.mustFail(by, "make-node", major, minor, kind)
			}, "security.nesting="+nesting)
		})
	}
}
