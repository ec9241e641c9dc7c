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
