package dir

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/loopfs"
)

// shutDown is FS_IOC_SHUTDOWN of linux/fs.h, from when on an ext4 file system answers with EIO.
const shutDown = 0x8004587d

// TestDeleteOfAPoolThatIsAway removes what is at the pool's root, whatever has become of its source, and says that the rest stays.
func TestDeleteOfAPoolThatIsAway(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, disk, source string) bool{ // whether anything is known to be left
		"its folder has been removed": func(t *testing.T, _, source string) bool {
			must(t, os.RemoveAll(source))
			return true
		},
		"its disk is read-only": func(t *testing.T, disk, _ string) bool {
			must(t, unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
			return true
		},
		"its disk is dead": func(t *testing.T, disk, _ string) bool {
			top, err := os.Open(disk)
			must(t, err)
			defer top.Close()
			if err := unix.IoctlSetPointerInt(int(top.Fd()), shutDown, 2); err != nil {
				t.Skip("this kernel does not shut ext4 down: ", err)
			}
			return true
		},
		"its disk has been taken from its place": func(t *testing.T, disk, _ string) bool {
			must(t, unix.Unmount(disk, unix.MNT_DETACH))
			must(t, unix.Mount("nothing", disk, "tmpfs", 0, "")) // which the test's end unmounts
			return true
		},
		"another disk is in its place": func(t *testing.T, _, source string) bool {
			must(t, unix.Mount("other", source, "tmpfs", 0, ""))
			t.Cleanup(func() { _ = unix.Unmount(source, unix.MNT_DETACH) })
			return false
		},
	} {
		for use, held := range map[string]bool{"": false, ", and somebody is in it": true} {
			t.Run(name+use, func(t *testing.T) {
				if held && (name == "its disk is read-only" || name == "its disk is dead") {
					return // who is there keeps it, as long as it is there
				}
				testAway(t, held, lose)
			})
		}
	}
}

func testAway(t *testing.T, held bool, lose func(t *testing.T, disk, source string) bool) {
	disk := loopfs.Mount(t, "ext4")
	source, root := filepath.Join(disk, "source"), filepath.Join(t.TempDir(), "pool")
	must(t, os.Mkdir(source, 0o711))
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	d := New(storagedriver.Config{Root: root, Options: map[string]string{"source": source}})
	must(t, errors.Join(d.Create(t.Context()), d.Mount(t.Context())))
	if held {
		inside, err := os.Open(filepath.Join(root, "containers"))
		must(t, err)
		defer inside.Close()
	}
	left := lose(t, disk, source)
	must(t, d.Unmount(t.Context()))
	must(t, d.Unmount(t.Context()))
	for range 2 {
		if err := d.Delete(t.Context()); left != errors.Is(err, storagedriver.ErrAway) || !left && err != nil {
			t.Errorf("deleted with %v", err)
		}
	}
	if _, err := os.Lstat(root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its root: %v", err)
	}
}

// TestAPoolThatIsInUseIsNotUnmounted as long as its source is there.
func TestAPoolThatIsInUseIsNotUnmounted(t *testing.T) {
	source, root := t.TempDir(), filepath.Join(t.TempDir(), "pool")
	d := New(storagedriver.Config{Root: root, Options: map[string]string{"source": source}})
	must(t, errors.Join(d.Create(t.Context()), d.Mount(t.Context())))
	inside, err := os.Open(filepath.Join(root, "containers"))
	must(t, err)
	if err := d.Unmount(t.Context()); !errors.Is(err, unix.EBUSY) {
		t.Errorf("unmounted: %v", err)
	}
	if err := d.Delete(t.Context()); !errors.Is(err, unix.EBUSY) || !d.laid() {
		t.Errorf("deleted: %v", err)
	}
	must(t, inside.Close())
	must(t, errors.Join(d.Unmount(t.Context()), d.Delete(t.Context())))
}

// TestAVolumeWithAFlagGoesFromSightFirst, as any other does: one of which a part could not be removed was left in its place without the rest.
func TestAVolumeWithAFlagGoesFromSightFirst(t *testing.T) {
	if _, err := exec.LookPath("chattr"); err != nil {
		t.Skip("chattr is missing")
	}
	d := New(storagedriver.Config{Root: filepath.Join(loopfs.Mount(t, "ext4"), "pool")})
	must(t, errors.Join(d.Create(t.Context()), d.Mount(t.Context())))
	v := container("a", "")
	must(t, d.CreateVolume(t.Context(), v, nil))
	inside := filepath.Join(d.Path(v), "inside")
	must(t, os.Mkdir(inside, 0o700))
	must(t, os.WriteFile(filepath.Join(d.Path(v), "file"), nil, 0o600))
	must(t, unix.Mount("x", inside, "tmpfs", 0, "")) // what is mounted is never removed
	if out, err := exec.Command("chattr", "+i", d.Path(v)).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	err := d.DeleteVolume(t.Context(), v)
	there, existErr := d.Exists(v)
	if err == nil || there || existErr != nil {
		t.Errorf("deleted with %v; there: %v, %v", err, there, existErr)
	}
	mounts, err := filepath.Glob(filepath.Join(d.root, "containers", "*", "inside"))
	must(t, err)
	for _, mount := range mounts {
		must(t, unix.Unmount(mount, unix.MNT_DETACH))
	}
	must(t, d.Mount(t.Context())) // which sweeps the rest away
	if left, err := os.ReadDir(filepath.Join(d.root, "containers")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestASnapshotThatFailsOnAReadOnlyDiskKeepsNothingBack: what was never made is removed, whatever the disk.
func TestASnapshotThatFailsOnAReadOnlyDiskKeepsNothingBack(t *testing.T) {
	loopfs.Each(t, func(t *testing.T, _, disk string) {
		d := New(storagedriver.Config{Root: filepath.Join(disk, "pool")})
		must(t, errors.Join(d.Create(t.Context()), d.Mount(t.Context())))
		v := container("a", "")
		v.UUID = "one"
		s0, s1 := snapshotOf(v, "s0"), snapshotOf(v, "s1")
		must(t, errors.Join(d.CreateVolume(t.Context(), v, nil), d.CreateSnapshot(t.Context(), s0)))
		must(t, unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		if err := d.CreateSnapshot(t.Context(), s1); !errors.Is(err, unix.EROFS) {
			t.Errorf("snapshot: %v", err)
		}
		other := container("b", "")
		if err := d.CreateVolume(t.Context(), other, nil); !errors.Is(err, unix.EROFS) {
			t.Errorf("created: %v", err)
		}
		for _, never := range []storagedriver.Volume{s1, other, snapshotOf(other, "s0")} {
			if err := d.DeleteVolume(t.Context(), never); err != nil {
				t.Errorf("what was never made is not removed: %v", err)
			}
		}
		for _, there := range []storagedriver.Volume{v, s0} {
			if err := d.DeleteVolume(t.Context(), there); !errors.Is(err, unix.EROFS) {
				t.Errorf("deleted: %v", err)
			}
		}
	})
}

func snapshotOf(v storagedriver.Volume, name string) storagedriver.Volume {
	return storagedriver.Volume{Kind: v.Kind, Name: v.Name, Snapshot: name, UUID: v.UUID + name}
}
