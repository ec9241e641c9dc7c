package lxc

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/spec"
)

// TestLongMountinfoLines: one mount of the guest's at the end of a long path kept the host from seeing all others, and so a disk from being
// removed.
func TestLongMountinfoLines(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	s := h.spec("c1")
	s.IDMap = nil // so that this thread may do as the guest's root does
	h.start(d, s)
	folder := t.TempDir()
	m := spec.Mount{Source: folder, Target: "mnt", Options: []string{"bind"}}
	h.do(d.Mount(h.context(), "c1", m))
	i, err := d.initOf("c1")
	h.do(err)
	defer i.release()
	h.do(inside(h.context(), i, func(func() bool) error {
		if err := unix.Chdir("/tmp"); err != nil {
			return err
		}
		name := strings.Repeat("\n", 250) // four bytes each in the list
		for range 90 {
			if err := unix.Mkdir(name, 0o755); err != nil {
				return err
			}
			if err := unix.Chdir(name); err != nil {
				return err
			}
		}
		return unix.Mount("none", ".", "tmpfs", 0, "")
	}))
	h.do(d.Unmount(h.context(), "c1", m, nil))
	if got := h.sh(d, "c1", "cat /proc/self/mountinfo | grep -c ' /mnt ' || true"); got != "0" {
		t.Errorf("%s mounts are left", got)
	}
}

// entries reads a list of mounts byte by byte, shortened.
func entries(t *testing.T, text string, place, other int) []*mountinfo.Info {
	t.Helper()
	list, err := mountinfo.GetMountsFromReader(&shortFields{from: iotest.OneByteReader(strings.NewReader(text)), place: place, other: other}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestShortFields(t *testing.T) {
	const plain = "22 27 0:21 / /proc rw,nosuid shared:11 - proc proc rw\n23 27 0:22 /a\\040b /sys\\012 rw - sysfs sysfs rw\n"
	whole, err := io.ReadAll(&shortFields{from: strings.NewReader(plain), place: 20, other: 20})
	if err != nil || string(whole) != plain {
		t.Errorf("%q, %v", whole, err)
	}
	long := "24 27 0:23 / /x" + strings.Repeat(`\012`, 100000) + " rw - tmpfs none rw\n"
	list := entries(t, plain+long+plain, maxPlace, maxOther)
	if len(list) != 5 {
		t.Fatalf("%d mounts", len(list))
	}
	if at := list[2].Mountpoint; len(at) <= unix.PathMax || len(at) > maxPlace || list[2].FSType != "tmpfs" {
		t.Errorf("%d bytes of a path of %s", len(at), list[2].FSType)
	}
	if list[4].Root != "/a b" || list[4].Mountpoint != "/sys\n" {
		t.Errorf("%+v", list[4])
	}
	// Escapes are kept whole wherever the limit falls.
	for limit := 1; limit < 12; limit++ {
		entries(t, "1 1 0:1 / /"+strings.Repeat(`\134`, 5)+" rw - tmpfs none rw\n", max(limit, 6), max(limit, 6))
	}
}

// TestLinesWithManyLongFieldsAreShort: a guest chooses both places, the type, the source and the options.
func TestLinesWithManyLongFieldsAreShort(t *testing.T) {
	long := strings.Repeat(`\012`, 4095)
	line := "24 27 0:23 /" + long + " /" + long + " rw,relatime shared:1 master:2 propagate_from:3 - fuse." + long + " " + long + " rw,lowerdir=" + long + "\n"
	const plain = "22 27 0:21 / /proc rw,nosuid shared:11 - proc proc rw\n"
	list := entries(t, plain+line+plain, maxPlace, maxOther)
	if len(list) != 3 || list[1].Major != 0 || list[1].Minor != 23 || len(list[1].Mountpoint) != 4096 || list[2].Mountpoint != "/proc" {
		t.Errorf("%d mounts", len(list))
	}
}

func FuzzShortFields(f *testing.F) {
	f.Add("1 1 0:1 / /x\\040y rw - tmpfs none rw\n", 3)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = limit&0xff + 1
		out, err := io.ReadAll(&shortFields{from: strings.NewReader(text), place: limit, other: limit})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Count(string(out), "\n"), strings.Count(text, "\n"); got != want {
			t.Errorf("%d lines of %d", got, want)
		}
		for _, field := range strings.FieldsFunc(string(out), func(r rune) bool { return r == ' ' || r == '\n' }) {
			if len(field) > limit+3 {
				t.Errorf("a field of %d bytes", len(field))
			}
		}
	})
}
