package storage

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
)

const poolMark = "trusted.berth.pool"

// markAt is the pool's UUID at a source; "" if there is none.
func (w *world) markAt(source string) string {
	w.Helper()
	buf := make([]byte, 64)
	n, err := unix.Getxattr(source, poolMark, buf)
	if err == unix.ENODATA {
		return ""
	}
	w.ok(err)
	return string(buf[:n])
}

// reboot is the next start of the host, on which pool p is not mounted yet.
func (w *world) reboot() {
	w.Helper()
	w.ok(unix.Unmount(filepath.Join(w.root, "storage-pools", "p"), 0))
	w.restart()
}

// TestAnotherPoolsDiskIsNotThePool, although it has all that a pool's has: nothing is deleted on it, nor forgotten.
func TestAnotherPoolsDiskIsNotThePool(t *testing.T) {
	w := newWorld(t)
	mine, other := w.disk(), w.disk()
	w.ok(w.pool("p", map[string]string{"source": mine.path}))
	w.ok(w.pool("q", map[string]string{"source": other.path}))
	t.Cleanup(func() { _ = unix.Unmount(filepath.Join(w.root, "storage-pools", "q"), unix.MNT_DETACH) })
	w.ok(w.create("v", api.StorageVolumeSource{}))
	mark := w.markAt(mine.path)

	w.ok(unix.Mount(other.path, mine.path, "", unix.MS_BIND, "")) // the disks have changed places
	t.Cleanup(func() { _ = unix.Unmount(mine.path, unix.MNT_DETACH) })
	w.reboot()
	w.fails(w.service.DeleteVolume(w.ctx, custom("v")), 503, "is another storage pool's")
	w.fails(w.snapshot("v", "s"), 503, "is another storage pool's")
	if status := w.statusOfPool("p"); status != "Unavailable" {
		t.Errorf("it is shown as %s", status)
	}
	w.ok(w.service.CheckPool("q"))

	w.ok(unix.Unmount(mine.path, 0))
	w.ok(w.service.DeleteVolume(w.ctx, custom("v")))
	if now := w.markAt(mine.path); now == "" || now != mark {
		t.Errorf("the mark was %q and is %q", mark, now)
	}

	// A pool that nothing uses is forgotten, and what is at its source is left alone.
	w.ok(unix.Mount(other.path, mine.path, "", unix.MS_BIND, ""))
	w.reboot()
	w.ok(w.service.DeletePool(w.ctx, "p"))
	w.ok(w.service.CheckPool("q"))
	if _, err := os.Stat(filepath.Join(other.path, "containers")); err != nil || w.markAt(other.path) == "" {
		t.Errorf("the other pool has lost something: %v", err)
	}
	w.ok(w.service.DeletePool(w.ctx, "q"))
	if now := w.markAt(other.path); now != "" {
		t.Errorf("a mark is left: %q", now)
	}
}

// TestAPoolOfAnEarlierVersionIsMarked at its next mount, and an earlier state of the store knows it by that.
func TestAPoolOfAnEarlierVersionIsMarked(t *testing.T) {
	for name, forget := range map[string]func(*poolRecord){
		"that had UUIDs": func(*poolRecord) {},
		"that had none":  func(r *poolRecord) { r.UUID = "" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			disk := w.disk()
			w.ok(w.pool("p", map[string]string{"source": disk.path}))
			w.ok(w.create("v", api.StorageVolumeSource{}))
			w.ok(unix.Removexattr(disk.path, poolMark))
			row, _ := w.service.pools.Get("p")
			earlier := *row.Value
			forget(&earlier)
			_, err := w.service.Store.Commit(w.ctx, w.service.pools.Replace(row, &earlier))
			w.ok(err)
			w.ok(unix.Mount("", disk.path, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
			w.reboot()
			w.ok(w.service.CheckPool("p"))
			w.ok(unix.Mount("", disk.path, "", unix.MS_REMOUNT, ""))
			for range 2 {
				w.reboot()
				w.ok(w.service.CheckPool("p"))
				if got := w.markAt(disk.path); got == "" || earlier.UUID != "" && got != earlier.UUID {
					t.Errorf("it is marked %q", got)
				}
			}
			w.ok(w.service.DeleteVolume(w.ctx, custom("v")))
			w.ok(w.service.DeletePool(w.ctx, "p"))
		})
	}
}

// TestAPoolIsMarkedWhereNoAttributesAreKept, by a file, which goes with the pool.
func TestAPoolIsMarkedWhereNoAttributesAreKept(t *testing.T) {
	w := newWorld(t)
	source := t.TempDir()
	w.ok(unix.Mount("none", source, "ramfs", 0, ""))
	t.Cleanup(func() {
		_ = unix.Unmount(filepath.Join(w.root, "storage-pools", "p"), unix.MNT_DETACH)
		_ = unix.Unmount(source, unix.MNT_DETACH)
	})
	w.ok(w.pool("p", map[string]string{"source": source}))
	mark, err := os.ReadFile(filepath.Join(source, ".berth-pool"))
	w.ok(err)
	w.ok(os.WriteFile(filepath.Join(source, ".berth-pool"), []byte("another\n"), 0o600))
	w.reboot()
	w.fails(w.service.CheckPool("p"), 503, "is another storage pool's (another, not ")
	w.ok(os.WriteFile(filepath.Join(source, ".berth-pool"), mark, 0o600))
	w.ok(w.service.CheckPool("p"))
	w.ok(w.service.DeletePool(w.ctx, "p"))
	if left, err := os.ReadDir(source); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
