package lxc

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/driver/lxc/helper"
	"github.com/berthd/berth/internal/spec"
)

// source is a folder of the host that anybody may write to, with another file system beneath.
func (h *host) source() string {
	h.Helper()
	dir := filepath.Join(h.root, "source")
	h.do(os.MkdirAll(filepath.Join(dir, "sub"), 0o777))
	h.do(os.Chmod(dir, 0o777))
	h.do(os.WriteFile(filepath.Join(dir, "file"), []byte("data"), 0o666))
	h.do(os.Chmod(filepath.Join(dir, "file"), 0o666))
	h.do(unix.Mount("t", filepath.Join(dir, "sub"), "tmpfs", 0, ""))
	h.Cleanup(func() { h.do(unix.Unmount(filepath.Join(dir, "sub"), unix.MNT_DETACH)) })
	return dir
}

// remounts is what root inside tries to get at a read-only mount at /mnt. Nothing of it may succeed.
const remounts = `
busybox mount -o remount,bind,rw /mnt; busybox mount -o remount,rw /mnt; busybox mount -o remount,bind,ro,dev,suid,exec /mnt
mkdir -p /tmp/again; busybox mount --bind /mnt /tmp/again && busybox mount -o remount,bind,rw /tmp/again
busybox mount --rbind /mnt /tmp/again && busybox mount -o remount,bind,rw /tmp/again
for d in /mnt /tmp/again /mnt/sub /tmp/again/sub; do touch $d/mine; echo x > $d/file; done
busybox umount /tmp/again; busybox umount /mnt/sub
true`

// privilege is a Spec, with an ID map and without.
func (h *host) privilege(each func(s *spec.Spec)) {
	for _, privileged := range []bool{false, true} {
		s := h.spec(fmt.Sprintf("c%t", privileged))
		if privileged {
			s.IDMap = nil
		}
		each(s)
	}
}

func (h *host) unharmed(dir string) {
	h.Helper()
	if raw, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(raw) != "data" {
		h.Errorf("the file on the host: %q, %v", raw, err)
	}
	for _, at := range []string{dir, filepath.Join(dir, "sub")} {
		if _, err := os.Lstat(filepath.Join(at, "mine")); err == nil {
			h.Errorf("the guest wrote to %s", at)
			h.do(os.Remove(filepath.Join(at, "mine")))
		}
	}
}

func TestReadOnlyIsReadOnly(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	dir := h.source()
	h.privilege(func(s *spec.Spec) {
		for _, bind := range []string{"bind", "rbind"} {
			m := spec.Mount{Source: dir, Target: "mnt", Options: []string{bind, "ro", "nodev", "nosuid", "noexec"}, Idmapped: bind == "bind"}
			s.Mounts = []spec.Mount{m}
			h.start(d, s)
			h.sh(d, s.ID, remounts)
			h.unharmed(dir)
			if got := h.options(d, s.ID, "/mnt"); !strings.HasPrefix(got, "ro,nosuid,nodev,noexec") {
				t.Errorf("%s, %s, from the start: %s", s.ID, bind, got)
			}
			h.do(d.Unmount(h.context(), s.ID, m, nil))
			if got := h.options(d, s.ID, "/mnt"); got != "" {
				t.Errorf("unplugged, and yet %q", got)
			}
			h.do(d.Mount(h.context(), s.ID, m))
			h.sh(d, s.ID, remounts)
			h.unharmed(dir)
			if got := h.options(d, s.ID, "/mnt"); !strings.HasPrefix(got, "ro,nosuid,nodev,noexec") {
				t.Errorf("%s, %s, plugged in: %s", s.ID, bind, got)
			}
			h.do(d.Unmount(h.context(), s.ID, m, nil))
			h.do(d.Kill(h.context(), s.ID))
		}
	})
	h.noMounts()
}

// options are those of the mount at a path inside; empty if there is none.
func (h *host) options(d *Driver, id, path string) string {
	h.Helper()
	for line := range strings.Lines(h.sh(d, id, "cat /proc/self/mountinfo")) {
		if f := strings.Fields(line); len(f) > 5 && f[4] == path {
			return f[5]
		}
	}
	return ""
}

// noMounts looks for mounts of the driver's on the host.
func (h *host) noMounts() {
	h.Helper()
	raw, err := os.ReadFile("/proc/self/mountinfo")
	h.do(err)
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, filepath.Join(h.root, "run")) {
			h.Errorf("a mount is left: %s", line)
		}
	}
}

func TestReadOnlyFile(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	dir := h.source()
	h.privilege(func(s *spec.Spec) {
		m := spec.Mount{Source: filepath.Join(dir, "file"), Target: "mnt/f", Options: []string{"bind", "ro"}, Create: "file"}
		h.start(d, s)
		h.do(d.Mount(h.context(), s.ID, m))
		h.sh(d, s.ID, "busybox mount -o remount,bind,rw /mnt/f; echo x > /mnt/f; true")
		h.unharmed(dir)
		h.do(d.Kill(h.context(), s.ID))
	})
}

func TestReadOnlyRoot(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.privilege(func(s *spec.Spec) {
		s.RootFS.ReadOnly = true
		h.start(d, s)
		h.sh(d, s.ID, "busybox mount -o remount,bind,rw /; busybox mount -o remount,rw /; touch /mine; true")
		if _, err := os.Lstat(filepath.Join(h.rootfs, "mine")); err == nil {
			t.Errorf("%s wrote to its read-only root", s.ID)
			h.do(os.Remove(filepath.Join(h.rootfs, "mine")))
		}
		h.do(d.Kill(h.context(), s.ID))
	})
	h.noMounts()
}

// A node that an image, a volume or another container's root brought is none to use.
func TestNodesComeOnlyThroughDevices(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	for name, rdev := range map[string]uint64{"kmsg": unix.Mkdev(1, 11), "null": unix.Mkdev(1, 3)} {
		node := filepath.Join(h.rootfs, "root", name)
		h.do(unix.Mknod(node, unix.S_IFCHR|0o666, int(rdev)))
		h.do(os.Chmod(node, 0o666))
	}
	h.privilege(func(s *spec.Spec) {
		for _, nesting := range []bool{false, true} {
			s.Nesting = nesting
			h.start(d, s)
			if got := h.sh(d, s.ID, "cat < /root/kmsg || echo refused"); !strings.HasSuffix(got, "refused") {
				t.Errorf("%s read the kernel's log: %.80q", s.ID, got)
			}
			h.sh(d, s.ID, "for n in null zero full random urandom ptmx; do true < /dev/$n || exit 1; done; true <> /dev/ptmx; busybox head -c 1 /dev/urandom > /dev/null")
			// Whether the host lets everyone use these is its own matter; the device rules do.
			if got := h.sh(d, s.ID, "for n in fuse net/tun; do test ! -e /dev/$n || true <> /dev/$n; done 2>&1; true"); strings.Contains(got, "not permitted") {
				t.Errorf("%s: %s", s.ID, got)
			}
			// What is left of the node's own permission is nodev, of which nothing but the rules is left where containers start inside.
			got := strings.Contains(h.options(d, s.ID, "/"), "nodev")
			if want := len(s.IDMap) > 0 && !nesting; got != want {
				t.Errorf("%s, nesting %t: the root is nodev: %t", s.ID, nesting, got)
			}
			if got {
				h.sh(d, s.ID, "! true < /root/null && ! busybox mount -o remount,bind,dev / && ! true < /root/null")
			}
			h.do(d.Kill(h.context(), s.ID))
		}
	})
}

func TestAllowDeviceOfAnyContainer(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.privilege(func(s *spec.Spec) {
		h.start(d, s)
		rule := spec.DeviceRule{Rule: "c 1:9 rwm"} // one that is there from the start, and whose driver asks for no capability
		for _, rule.Allow = range []bool{false, true, false} {
			want := map[bool]string{false: "refused", true: "open"}[rule.Allow]
			h.do(d.AllowDevice(h.context(), s.ID, rule))
			if got := h.sh(d, s.ID, "true < /dev/urandom && echo open || echo refused"); !strings.HasSuffix(got, want) {
				t.Errorf("%s, allow %t: %q", s.ID, rule.Allow, got)
			}
		}
		h.do(d.Kill(h.context(), s.ID))
	})
}

// A daemon that was killed between a start's mounts and the start leaves them to the next one.
func TestStagesOfAKilledDaemonAreTakenAway(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	s := h.spec("c1")
	s.Mounts = []spec.Mount{{Source: h.source(), Target: "mnt", Options: []string{"rbind"}}, {Source: h.root + "/nothing", Target: "tmp", Optional: true}}
	l := d.layoutOf("c1")
	h.do(d.prepare(t.Context(), s, l))
	h.do(d.stage(h.context(), "c1", l, planOf(s)))
	next := h.driver()
	if _, err := next.Find(h.context(), anyone); err != nil {
		t.Fatal(err)
	}
	h.noMounts()
	if left, _ := os.ReadDir(filepath.Dir(l.Stage)); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	h.do(d.stage(h.context(), "c1", l, planOf(s)))
	h.do(d.stage(h.context(), "c1", l, planOf(s))) // over what is left
	h.do(d.Cleanup(h.context(), "c1", ""))
	h.noMounts()
	s.Mounts[1].Optional = false
	if _, err := d.Start(h.context(), s); err == nil || !strings.Contains(err.Error(), "/nothing: no such file") {
		t.Errorf("started without a source: %v", err)
	}
	h.noMounts()
}

// What the host mounts beneath a source later is not the guest's, unless the disk says so.
func TestPropagation(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	dir := h.source()
	h.do(unix.Mount(dir, dir, "", unix.MS_BIND, ""))
	h.Cleanup(func() { h.do(unix.Unmount(dir, unix.MNT_DETACH)) })
	h.do(unix.Mount("", dir, "", unix.MS_SHARED, ""))
	s := h.spec("c1")
	s.Mounts = []spec.Mount{
		{Source: dir, Target: "mnt", Options: []string{"bind"}}, {Source: dir, Target: "tmp", Options: []string{"bind", "rslave"}},
		{Source: dir, Target: "etc", Options: []string{"rbind", "ro", "runbindable"}},
	}
	h.start(d, s)
	h.do(d.Mount(h.context(), "c1", spec.Mount{Source: dir, Target: "root/a", Create: "dir", Options: []string{"bind", "nodev"}}))
	h.do(d.Mount(h.context(), "c1", spec.Mount{Source: dir, Target: "root/b", Create: "dir", Options: []string{"bind", "nodev", "slave"}}))
	h.do(d.Mount(h.context(), "c1", spec.Mount{Source: dir, Target: "root/c", Create: "dir", Options: []string{"bind", "ro", "unbindable"}}))
	h.sh(d, "c1", "mkdir /root/again; ! busybox mount --bind /root/c /root/again") // at a start liblxc makes everything shared in the end
	h.do(os.Mkdir(filepath.Join(dir, "late"), 0o755))
	h.do(unix.Mount("late", filepath.Join(dir, "late"), "tmpfs", 0, ""))
	h.Cleanup(func() { h.do(unix.Unmount(filepath.Join(dir, "late"), unix.MNT_DETACH)) })
	for at, want := range map[string]bool{"/mnt/late": false, "/tmp/late": true, "/root/a/late": false, "/root/b/late": true} {
		if got := h.options(d, "c1", at) != ""; got != want {
			t.Errorf("%s is a mount: %t, want %t", at, got, want)
		}
	}
}

func TestMaps(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	m := h.spec("c1").IDMap
	first, err := d.maps.get(h.context(), m)
	h.do(err)
	if again, err := d.maps.get(h.context(), m); err != nil || again != first {
		t.Errorf("the same map once more: %v, %v", again, err)
	}
	for n := range int64(2 * maxMaps) {
		if _, err := d.maps.get(h.context(), []spec.IDMapEntry{{UID: true, GID: true, HostID: 2000000 + n, Count: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.maps.kept) > maxMaps {
		t.Errorf("%d user namespaces are kept", len(d.maps.kept))
	}
	for _, bad := range []string{"", "nonsense", "0 1 2\n0 1 2\n"} {
		if f, err := d.userns(h.context(), bad, bad); err == nil {
			t.Errorf("map %q: %v", bad, f.Name())
		}
	}
	if _, err := d.helper.File(h.context(), helper.Call{Args: []string{"lock", "", "", "", "/proc"}}); err == nil {
		t.Error("locked nothing")
	}
}

// A descriptor is the holder's, whatever becomes of the container meanwhile: its number is nobody else's.
func TestAHeldInitStaysItself(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	i, err := d.initOf("c1")
	h.do(err)
	ns, err := i.namespace("user")
	h.do(err)
	h.do(ns.Close())
	h.do(d.Kill(h.context(), "c1"))
	h.do(d.Cleanup(context.Background(), "c1", ""))
	// Whoever opens something now gets the numbers that are free.
	var others []*os.File
	for range 64 {
		f, err := os.Open("/")
		h.do(err)
		others = append(others, f)
	}
	if link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", i.fd)); err != nil || !strings.Contains(link, "pidfd") {
		t.Errorf("the held descriptor is %s, %v", link, err)
	}
	for name, err := range map[string]error{
		"root": second(i.root()), "network": second(i.namespace("net")), "user": second(i.namespace("user")),
		"mounts": inside(h.context(), i, func(func() bool) error { t.Error("entered"); return nil }),
	} {
		if err == nil {
			t.Errorf("%s of an instance that has ended was opened", name)
		}
	}
	for _, f := range others {
		_ = f.Close()
	}
	i.release()
	if _, err := d.Root("c1"); err == nil {
		t.Error("the root of a stopped instance")
	}
}

func second[T any](_ T, err error) error { return err }

// What a start pays for having its mounts locked.
func BenchmarkStage(b *testing.B) {
	h := newHost(&testing.T{})
	defer func() { _ = os.RemoveAll(h.root) }()
	d, err := New(Options{Root: h.root, Helper: helperPath})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	l := d.layoutOf("b3")
	h.do(d.prepare(b.Context(), h.spec("b3"), l))
	for b.Loop() {
		if err := d.stage(b.Context(), "b3", l, planOf(h.spec("b3"))); err != nil {
			b.Fatal(err)
		}
		h.do(unstage(l.Stage))
	}
	h.do(d.Cleanup(b.Context(), "b3", ""))
}
