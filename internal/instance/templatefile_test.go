package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/template"
)

// templated is a house with an instance c1 whose templates of a start make files, all of one source.
func templated(t *testing.T, source string, targets ...string) (h *house, rootfs string) {
	t.Helper()
	h = newHouse(t, nil)
	h.images.metadata = "architecture: x86_64\ncreation_date: 1\ntemplates:\n"
	for _, target := range targets {
		h.images.metadata += "  ? " + target + "\n  : {when: [start], template: t.tpl}\n"
	}
	h.images.template = source
	h.create("c1", nil)
	return h, filepath.Join(h.volumes.root, "storage-pools", "p1", "containers", "c1", "rootfs")
}

// small has a folder on a file system of its own, of so many bytes, until the test ends.
func small(t *testing.T, dir, size string) {
	t.Helper()
	if err := unix.Mount("berth-test", dir, "tmpfs", 0, "mode=755,size="+size); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skip("needs root: it mounts a file system")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// write makes a file and its folder.
func (h *house) writeFile(file, content string) {
	h.t.Helper()
	h.do(os.MkdirAll(filepath.Dir(file), 0o755))
	h.do(os.WriteFile(file, []byte(content), 0o644))
}

// fill uses up what a file system has.
func (h *house) fill(dir string) {
	h.t.Helper()
	f, err := os.Create(filepath.Join(dir, "full"))
	h.do(err)
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		h.t.Fatal(err)
	}
}

// holds checks what a file and its folder have.
func (h *house) holds(file, want string, others ...string) {
	h.t.Helper()
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want {
		h.t.Errorf("%s holds %.60q, %v; want %.60q", file, got, err, want)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if h.do(err); len(entries) != 1+len(others) {
		h.t.Errorf("beside %s: %v, want %q", file, entries, others)
	}
}

// What a template was to replace was cut before there was room for what it printed.
func TestAFailedTemplateLeavesTheFile(t *testing.T) {
	h, rootfs := templated(t, strings.Repeat("new\n", 5000), "/etc/made")
	small(t, rootfs, "256k")
	made := filepath.Join(rootfs, "etc", "made")
	h.writeFile(made, "the guest's own\n")
	h.fill(rootfs)
	if err := h.action("c1", "start"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the start says %v", err)
	}
	h.holds(made, "the guest's own\n")
	h.do(os.Remove(filepath.Join(rootfs, "full")))
	h.do(h.action("c1", "start"))
	h.holds(made, strings.Repeat("new\n", 5000))
}

// A guest that has used up its disk can still be started, if its templates change nothing or make no more than a name.
func TestAFullDiskKeepsNoInstanceFromItsStart(t *testing.T) {
	h, rootfs := templated(t, "{{ instance.name }}\n", "/etc/made")
	small(t, rootfs, "256k")
	h.writeFile(filepath.Join(rootfs, "etc", "made"), "c1\n")
	h.fill(rootfs)
	h.do(h.action("c1", "start"))
	h.do(h.action("c1", "stop"))
	// One block is less than any reserve.
	h.do(os.Truncate(filepath.Join(rootfs, "full"), 180<<10))
	h.writeFile(filepath.Join(rootfs, "etc", "made"), "localhost\n")
	h.do(h.action("c1", "start"))
	h.holds(filepath.Join(rootfs, "etc", "made"), "c1\n")
}

// Templates together used up a pool, its reserve too, and more than the size of their instance's disk.
func TestTemplatesKeepTheReserve(t *testing.T) {
	source := strings.Repeat("0123456789abcdef", 500<<10/16)
	for name, c := range map[string]struct{ size, want string }{
		"the pool's reserve": {"", "reserve"},
		"the disk's size":    {"600KiB", "limit"},
	} {
		t.Run(name, func(t *testing.T) {
			h, rootfs := templated(t, source, "/a/b/1", "/a/b/2", "/a/b/3")
			if c.size != "" {
				h.do(h.Patch(t.Context(), "default", "c1", api.InstancePut{Devices: map[string]map[string]string{
					"root": {"type": "disk", "path": "/", "pool": "p1", "size": c.size},
				}}, func(string) bool { return false }, anyRevision))
			}
			small(t, rootfs, "1600k")
			if err := h.action("c1", "start"); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the start says %v, want %q", err, c.want)
			}
			if entries, err := os.ReadDir(rootfs); err != nil || len(entries) != 0 {
				t.Errorf("some of it is there: %v, %v", entries, err)
			}
		})
	}
}

// What a file is beside its content stays, and so do the links that lead to it.
func TestATemplateKeepsTheRightsOfItsFile(t *testing.T) {
	h, rootfs := templated(t, "{{ instance.name }}\n", "/etc/made")
	if os.Getuid() != 0 {
		t.Skip("needs root: it changes owners of files")
	}
	// ".." of a link leads up from where the link's own folder really is.
	shared := filepath.Join(rootfs, "usr", "share", "made")
	h.writeFile(shared, "old\n")
	h.do(os.Mkdir(filepath.Join(rootfs, "usr", "etc"), 0o755))
	h.do(os.Symlink("usr/etc", filepath.Join(rootfs, "etc")))
	h.do(os.Symlink("../share/made", filepath.Join(rootfs, "usr", "etc", "made")))
	h.do(os.Chown(shared, 33, 34))
	h.do(unix.Chmod(shared, 0o2640))
	h.do(unix.Setxattr(shared, "trusted.berth-test", []byte("kept"), 0))
	h.do(h.action("c1", "start"))
	h.holds(shared, "c1\n")
	var st unix.Stat_t
	h.do(unix.Stat(shared, &st))
	var value [16]byte
	n, err := unix.Getxattr(shared, "trusted.berth-test", value[:])
	if st.Uid != 33 || st.Gid != 34 || st.Mode&0o7777 != 0o2640 || err != nil || string(value[:n]) != "kept" {
		t.Errorf("it belongs to %d:%d, its mode is %o, its attribute %q, %v", st.Uid, st.Gid, st.Mode, value[:max(n, 0)], err)
	}
	if target, err := os.Readlink(filepath.Join(rootfs, "usr", "etc", "made")); err != nil || target != "../share/made" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
}

// A link that leads to nothing yet is followed as well, and what cannot be a template's file is left alone.
func TestWhereATemplateLeads(t *testing.T) {
	for name, c := range map[string]struct {
		make func(made string) error
		want string // of the start; empty: the file is made
	}{
		"to nothing yet": {func(made string) error { return os.Symlink("../real", made) }, ""},
		"to no folder":   {func(made string) error { return os.Symlink("../none/real", made) }, "no such file"},
		"in a circle":    {func(made string) error { return os.Symlink("made", made) }, "too many levels"},
		"outside":        {func(made string) error { return os.Symlink("../../../real", made) }, "escapes"},
		"to the host":    {func(made string) error { return os.Symlink("/real", made) }, "not beneath"},
		"to a folder":    {func(made string) error { return os.Mkdir(made, 0o755) }, "not a regular file"},
		"to a pipe":      {func(made string) error { return unix.Mkfifo(made, 0o644) }, "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			h, rootfs := templated(t, "{{ instance.name }}\n", "/etc/made")
			h.do(os.Mkdir(filepath.Join(rootfs, "etc"), 0o755))
			h.do(c.make(filepath.Join(rootfs, "etc", "made")))
			err := h.action("c1", "start")
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("the start says %v, want %q", err, c.want)
				}
				entries, err := os.ReadDir(rootfs)
				if h.do(err); len(entries) != 1 {
					t.Errorf("beside etc there is %v: it is not the template's to make", entries)
				}
				return
			}
			h.do(err)
			h.holds(filepath.Join(rootfs, "real"), "c1\n", "etc")
		})
	}
}

// A daemon that was killed leaves the file that it was writing.
func TestATemplateTakesAwayWhatAKillLeft(t *testing.T) {
	h, rootfs := templated(t, "{{ instance.name }}\n", "/etc/made")
	h.writeFile(filepath.Join(rootfs, "etc", ".berth-template-"+h.record("c1").UUID), "half")
	h.do(h.action("c1", "start"))
	h.holds(filepath.Join(rootfs, "etc", "made"), "c1\n")
}

// An image may name thousands of targets, of one file.
func TestTheTargetsOfATemplateAreBounded(t *testing.T) {
	var targets []string
	for n := range 10 {
		targets = append(targets, fmt.Sprintf("/etc/made%d", n))
	}
	h, _ := templated(t, strings.Repeat("x", template.MaxSource), targets...)
	if err := h.action("c1", "start"); err == nil || !strings.Contains(err.Error(), template.ErrSources.Error()) {
		t.Errorf("the start says %v", err)
	}
	h, rootfs := templated(t, "x", "/"+strings.Repeat("a/", 3000))
	if err := h.action("c1", "start"); err == nil || !strings.Contains(err.Error(), "may have 4095") {
		t.Errorf("the start says %.200v", err)
	}
	if entries, err := os.ReadDir(rootfs); err != nil || len(entries) != 0 {
		t.Errorf("some of it is there: %v, %v", entries, err)
	}
}

// The rest of a start that was cancelled is not written.
func TestTemplatesEndWithTheirContext(t *testing.T) {
	h, rootfs := templated(t, "x", "/etc/made")
	ctx, cancel := context.WithCancel(t.Context())
	i := h.record("c1")
	e := h.effectiveOf(i)
	root, err := os.OpenRoot(rootfs)
	h.do(err)
	defer root.Close()
	cancel()
	if err := h.writeTemplates(ctx, root, i, e, []templateFile{{name: "made", target: "/made"}}, [][]byte{nil}); !errors.Is(err, context.Canceled) {
		t.Errorf("written with %v", err)
	}
	meta := &api.ImageMetadata{Templates: map[string]*api.ImageMetadataTemplate{"/made": {When: []string{"start"}, Template: "none"}}}
	if _, _, err := pendingTemplates(ctx, root, root, i, e, meta, "start"); !errors.Is(err, context.Canceled) {
		t.Errorf("read with %v", err)
	}
	if entries, err := os.ReadDir(rootfs); err != nil || len(entries) != 0 {
		t.Errorf("some of it is there: %v, %v", entries, err)
	}
}
