package storage

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
)

// TestAFileSystemWithoutMarks: where no extended attributes are kept, volumes go by their names, once it is known which is
// meant.
func TestAFileSystemWithoutMarks(t *testing.T) {
	w := newWorld(t)
	source := t.TempDir()
	w.ok(unix.Mount("none", source, "ramfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(source, unix.MNT_DETACH) })
	if err := unix.Setxattr(source, "trusted.berth.test", []byte("x"), 0); err != unix.ENOTSUP {
		t.Fatalf("ramfs keeps extended attributes: %v", err)
	}
	w.ok(w.pool("p", map[string]string{"source": source}))
	t.Cleanup(func() { _ = unix.Unmount(filepath.Join(w.root, "storage-pools/p"), unix.MNT_DETACH) })
	w.ok(w.create("v", api.StorageVolumeSource{}))
	w.ok(w.snapshot("v", "s0"))
	w.ok(w.service.RenameVolume(w.ctx, custom("v"), "w"))

	w.put("storage-pools/p/custom/default_pre")
	w.fails(w.service.RenameVolume(w.ctx, custom("w"), "pre"), 409, "already exists")
	w.fails(w.create("pre", api.StorageVolumeSource{}), 409, "already exists")
	w.keeps("storage-pools/p/custom/default_pre")

	v := custom("w")
	w.ok(w.service.RenameVolume(w.ctx, VolumeID{Pool: "p", Project: "default", Type: VolumeCustom, Name: "w", Snapshot: "s0"}, "s1"))
	w.ok(w.service.DeleteVolume(w.ctx, v))
	if _, err := os.Stat(filepath.Join(source, "custom/default_w")); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	w.ok(os.RemoveAll(filepath.Join(source, "custom/default_pre")))
	w.ok(w.service.DeletePool(w.ctx, "p"))
}

// TestCopyAcrossToAPoolWithoutMarks: an instance's snapshot comes by way of a volume that no identity tells apart there, and that is removed.
func TestCopyAcrossToAPoolWithoutMarks(t *testing.T) {
	w := newWorld(t)
	source := t.TempDir()
	w.ok(unix.Mount("none", source, "ramfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(source, unix.MNT_DETACH) })
	w.ok(w.pool("p", nil))
	w.ok(w.pool("q", map[string]string{"source": source}))
	t.Cleanup(func() { _ = unix.Unmount(filepath.Join(w.root, "storage-pools/q"), unix.MNT_DETACH) })
	i := VolumeID{Pool: "p", Project: "default", Type: VolumeContainer, Name: "c1", UUID: "5f75b32a-84c9-4d8f-aadf-364e835a6ff0"}
	snap := i
	snap.Snapshot, snap.UUID = "s0", "3f0b1c6e-0000-4000-8000-000000000001"
	w.ok(w.service.CreateEmpty(w.ctx, i))
	w.ok(os.WriteFile(filepath.Join(w.service.Path(i), "file"), []byte("work"), 0o600))
	w.ok(w.service.Snapshot(w.ctx, snap))
	there, theirs := i, snap
	there.Pool, theirs.Pool = "q", "q"
	w.ok(w.service.Copy(w.ctx, there, i))
	w.ok(w.service.Copy(w.ctx, theirs, snap))
	for _, v := range []VolumeID{there, theirs} {
		if got, err := os.ReadFile(filepath.Join(w.service.Path(v), "file")); err != nil || string(got) != "work" {
			t.Errorf("%s %s holds %q, %v", v.Name, v.Snapshot, got, err)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(source, "containers")); err != nil || len(entries) != 1 {
		t.Errorf("the pool holds %v, %v", entries, err)
	}
	w.ok(w.service.Delete(w.ctx, there, theirs))
	w.ok(w.service.Delete(w.ctx, i, snap))
	w.ok(w.service.DeletePool(w.ctx, "q"))
}
