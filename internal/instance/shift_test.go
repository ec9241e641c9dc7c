package instance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/berthd/berth/api"
)

// owner is who a file of an instance's belongs to on disk.
func (h *house) owner(name, file string) int {
	h.t.Helper()
	st, err := os.Lstat(filepath.Join(h.volumes.root, "storage-pools", "p1", "containers", name, "rootfs", file))
	h.do(err)
	return int(st.Sys().(*syscall.Stat_t).Uid)
}

func TestFilesAreShiftedWhereTheyCannotBeMapped(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it changes owners of files")
	}
	h := newHouse(t, nil)
	can := false
	h.Host.Unshifted = func(string) bool { return can }
	h.images.metadata = "architecture: x86_64\ncreation_date: 1\ntemplates:\n  /etc/new/name:\n    when: [start]\n    template: t.tpl\n"
	h.images.template = "{{ container.name }}\n"
	h.create("c1", nil)
	rootfs := filepath.Join(h.volumes.root, "storage-pools", "p1", "containers", "c1", "rootfs")
	h.do(os.MkdirAll(filepath.Join(rootfs, "etc"), 0o755))
	h.do(os.WriteFile(filepath.Join(rootfs, "etc", "f"), nil, 0o644))
	h.do(os.Chown(filepath.Join(rootfs, "etc", "f"), 33, 33))
	want := func(root, f int) {
		t.Helper()
		if a, b := h.owner("c1", "etc"), h.owner("c1", "etc/f"); a != root || b != f {
			t.Errorf("owners are %d and %d, want %d and %d (%s)", a, b, root, f, h.show("c1").Config["volatile.last_state.idmap"])
		}
	}
	set := func(key, value string) {
		t.Helper()
		h.do(h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: map[string]string{key: value}}, func(string) bool { return false }, anyRevision))
	}
	run := func() {
		t.Helper()
		h.do(h.action("c1", "start"))
		h.do(h.action("c1", "stop"))
	}
	base := 1000000
	run()
	want(base, base+33)
	if h.rt.specs["c1"].RootFS.Idmapped {
		t.Error("a shifted tree is seen through a map as well")
	}
	if got := h.owner("c1", "etc/new/name"); got != base {
		t.Errorf("a file made by a template belongs to %d", got)
	}
	if root, err := h.FilesRoot(t.Context(), "default", "c1"); err != nil || len(root.IDMap) == 0 {
		t.Errorf("files are reached without the map: %v", err)
	} else {
		root.Release()
	}

	// A copy, a snapshot and what is restored know how their files are.
	h.do(h.run(h.Create(t.Context(), "default", api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1"}})))
	if a, b := h.show("c1").Config["volatile.last_state.idmap"], h.show("c2").Config["volatile.last_state.idmap"]; a != b {
		t.Errorf("the copy says %s, the original %s", b, a)
	}
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s1"})))

	set("security.privileged", "true")
	run()
	want(0, 33)
	h.do(h.run(h.Restore(t.Context(), "default", "c1", "s1", anyRevision)))
	if got := h.show("c1").Config["volatile.last_state.idmap"]; got == "[]" {
		t.Errorf("restored files are taken for unshifted")
	}
	for file, id := range map[string]int{".": base, "etc": base, "etc/f": base + 33} { // the fake pool's copies have no owners
		h.do(os.Chown(filepath.Join(rootfs, file), id, id))
	}
	set("security.privileged", "false")
	set("security.idmap.isolated", "true")
	set("security.idmap.base", "2000000")
	run()
	want(2000000, 2000033)
	can = true
	run()
	want(0, 33)
	can = false
	set("security.protection.shift", "true")
	if err := h.action("c1", "start"); err == nil || err.Error() != "Container is protected against filesystem shifting" {
		t.Errorf("protected: %v", err)
	}
	want(0, 33)
	h.nothingLeft()
}

func TestAShiftThatIsCutOffIsFinishedByTheNext(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it changes owners of files")
	}
	h := newHouse(t, nil)
	h.Host.Unshifted = func(string) bool { return false }
	h.create("c1", nil)
	rootfs := filepath.Join(h.volumes.root, "storage-pools", "p1", "containers", "c1", "rootfs")
	for _, name := range []string{"a", "b", "c"} {
		h.do(os.WriteFile(filepath.Join(rootfs, name), nil, 0o644))
	}
	// As a daemon leaves it that was killed half way: the record says so, one file is done.
	row, err := h.get("default", "c1")
	h.do(err)
	next := row.Value.clone()
	eff, err := h.check(t.Context(), next, next)
	h.do(err)
	h.do(h.noteShift(t.Context(), next, eff.IDMap, true))
	h.do(os.Chown(filepath.Join(rootfs, "b"), 1000000, 1000000))

	// Meanwhile it is to get another map.
	h.do(h.Patch(t.Context(), "default", "c1", api.InstancePut{Config: map[string]string{
		"security.idmap.isolated": "true", "security.idmap.base": "1500000",
	}}, func(string) bool { return false }, anyRevision))
	h.do(h.action("c1", "start"))
	for _, name := range []string{"a", "b", "c", "."} {
		if got := h.owner("c1", name); got != 1500000 {
			t.Errorf("%s belongs to %d", name, got)
		}
	}
	row, err = h.get("default", "c1")
	h.do(err)
	if row.Value.Shifting {
		t.Error("the record still says that a shift is under way")
	}
	if err := h.action("c1", "stop"); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	h.nothingLeft()
}
