package lxc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/spec"
)

// folder makes a folder of the host that anybody may write to.
func (h *host) folder(name string) string {
	h.Helper()
	dir := filepath.Join(h.root, name)
	h.do(os.Mkdir(dir, 0o777))
	h.do(os.Chmod(dir, 0o777))
	return dir
}

// showing counts the mounts of a folder of the host that an instance has.
func (h *host) showing(d *Driver, dir string) int {
	h.Helper()
	n := 0
	for line := range strings.Lines(h.sh(d, "c1", "cat /proc/self/mountinfo")) {
		if strings.HasSuffix(strings.Fields(line)[3], "/"+filepath.Base(dir)) {
			n++
		}
	}
	return n
}

// A guest made the link on the way to a mount lead elsewhere, moved the mount or made another of it: "unmounted", and still there.
func TestWhatIsUnmountedIsGoneWhereverItIs(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	h.sh(d, "c1", "mkdir -p /run /var /opt/real; busybox ln -s /run /var/run; busybox ln -s real /opt/last; busybox mount --make-rprivate /")
	for name, c := range map[string]struct{ target, after string }{
		"link":    {"var/run/a", "true"},
		"last":    {"opt/last", "true"},
		"changed": {"srv/l/b", "busybox mv /srv/l /srv/old; mkdir -p /srv/fake/b; busybox ln -s fake /srv/l"},
		"moved":   {"mnt/c", "mkdir /mnt/moved; busybox mount --move /mnt/c /mnt/moved; busybox rmdir /mnt/c"},
		"copied":  {"mnt/d", "mkdir /mnt/copy; busybox mount --bind /mnt/d /mnt/copy; busybox mount --bind /mnt/d /mnt/copy"},
		"hidden":  {"mnt/e", "mkdir /tmp/new; busybox mount --bind /mnt/e /mnt/e"},
	} {
		m := spec.Mount{Source: h.folder(name), Target: c.target, Create: "dir", Options: []string{"bind"}}
		h.do(d.Mount(h.context(), "c1", m))
		h.sh(d, "c1", c.after)
		if is, err := d.Mounted(h.context(), "c1", m, nil); !is || err != nil {
			t.Errorf("%s: mounted: %t, %v", name, is, err)
		}
		h.do(d.Unmount(h.context(), "c1", m, nil))
		if n := h.showing(d, m.Source); n > 0 {
			t.Errorf("%s: unmounted, and %d are there", name, n)
		}
		if is, err := d.Mounted(h.context(), "c1", m, nil); is || err != nil {
			t.Errorf("%s: after it is mounted: %t, %v", name, is, err)
		}
		h.do(d.Unmount(h.context(), "c1", m, nil))
	}
}

func TestWhatCannotBeReachedIsNotUnmounted(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	m := spec.Mount{Source: h.folder("source"), Target: "mnt/a", Create: "dir"}
	h.do(d.Mount(h.context(), "c1", m))
	h.sh(d, "c1", "busybox mount -t tmpfs own /mnt; mkdir /mnt/a; touch /mnt/a/guests")
	if err := d.Unmount(h.context(), "c1", m, nil); api.StatusOf(err) != 400 || !strings.Contains(err.Error(), "/mnt/a") {
		t.Errorf("got %v", err)
	}
	if got, n := h.sh(d, "c1", "ls /mnt/a"), h.showing(d, m.Source); got != "guests" || n != 1 {
		t.Errorf("something was unmounted: there is %q, of the source %d", got, n)
	}
	h.sh(d, "c1", "busybox umount /mnt")
	h.do(d.Unmount(h.context(), "c1", m, nil))
	if n := h.showing(d, m.Source); n > 0 {
		t.Errorf("%d are left", n)
	}
}

// Two devices show one folder: the other one stays. A folder that is gone from the host is found by its place.
func TestOtherMountsOfASourceStay(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	one := spec.Mount{Source: h.folder("source"), Target: "mnt/a", Create: "dir"}
	two := one
	two.Target = "mnt/b"
	h.do(d.Mount(h.context(), "c1", one))
	h.do(d.Mount(h.context(), "c1", two))
	h.do(d.Unmount(h.context(), "c1", one, []string{two.Target}))
	h.sh(d, "c1", "touch /mnt/b/there")
	if _, err := os.Stat(filepath.Join(one.Source, "there")); err != nil || h.showing(d, one.Source) != 1 {
		t.Errorf("the other one is gone: %v", err)
	}
	two.Source = filepath.Join(h.root, "gone")
	h.do(d.Unmount(h.context(), "c1", two, nil))
	if n := h.showing(d, one.Source); n > 0 {
		t.Errorf("%d are left", n)
	}
}

// liblxc follows absolute links on the host: a container with a disk below /var/run did not start, and what was to lie on top lay beneath.
func TestMountsAtStartFollowTheGuestsLinks(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.do(os.MkdirAll(filepath.Join(h.rootfs, "run"), 0o755))
	h.do(os.MkdirAll(filepath.Join(h.rootfs, "var"), 0o755))
	h.do(os.Symlink("/run", filepath.Join(h.rootfs, "var/run")))
	s := h.spec("c1")
	vol, sub := h.folder("vol"), h.folder("sub")
	h.do(os.Mkdir(filepath.Join(vol, "sub"), 0o777))
	s.Mounts = []spec.Mount{
		{Source: sub, Target: "run/vol/sub", Create: "dir", Options: []string{"bind"}},
		{Source: vol, Target: "var/run/vol", Create: "dir", Options: []string{"bind"}},
	}
	h.start(d, s)
	h.sh(d, "c1", "touch /run/vol/in-vol /var/run/vol/sub/in-sub")
	for _, file := range []string{filepath.Join(vol, "in-vol"), filepath.Join(sub, "in-sub")} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
	places, err := d.Resolve(h.context(), "c1", []string{"var/run/vol/x/y", "run", "nowhere/x", "var/run/vol/sub"})
	if got := strings.Join(places, " "); err != nil || got != "run/vol/x/y run nowhere/x run/vol/sub" {
		t.Errorf("resolved: %s, %v", got, err)
	}
}
