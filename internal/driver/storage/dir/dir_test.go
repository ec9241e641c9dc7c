package dir

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/driver/storage/drivertest"
	"github.com/berthd/berth/internal/loopfs"
)

func factory(c storagedriver.Config) storagedriver.Driver { return New(c) }

func TestMain(m *testing.M) { drivertest.Main(m, factory) }

func TestDriver(t *testing.T) {
	loopfs.Each(t, func(t *testing.T, _, path string) { drivertest.Run(t, path, factory) })
}

func TestDriverKilled(t *testing.T) {
	loopfs.Each(t, func(t *testing.T, _, path string) { drivertest.RunKills(t, path, "storage.dir.", factory) })
}

func TestDriverWithSource(t *testing.T) {
	loopfs.Each(t, func(t *testing.T, _, path string) {
		source := filepath.Join(path, "source")
		if err := os.Mkdir(source, 0o700); err != nil {
			t.Fatal(err)
		}
		drivertest.Run(t, t.TempDir(), func(c storagedriver.Config) storagedriver.Driver {
			c.Options = map[string]string{"source": source}
			return New(c)
		})
	})
}

// TestAReadOnlyPoolIsMountedAndCanBeLeft, also by a daemon that starts on it, and takes changes once its disk does.
func TestAReadOnlyPoolIsMountedAndCanBeLeft(t *testing.T) {
	for name, remount := range map[string]func(disk, root string, flag uintptr) error{
		"by itself": func(disk, _ string, flag uintptr) error { return unix.Mount("", disk, "", unix.MS_REMOUNT|flag, "") },
		"by its device": func(_, root string, flag uintptr) error { // mount(8) takes what was mounted last
			return unix.Mount("", root, "", unix.MS_REMOUNT|flag, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk := loopfs.Mount(t, "ext4")
			source, root := filepath.Join(disk, "source"), filepath.Join(t.TempDir(), "pool")
			must(t, os.Mkdir(source, 0o711))
			t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
			c := storagedriver.Config{Root: root, Options: map[string]string{"source": source}}
			d, v := New(c), container("a", "")
			must(t, errors.Join(d.Create(t.Context()), d.Mount(t.Context()), d.CreateVolume(t.Context(), v, nil)))
			must(t, os.WriteFile(filepath.Join(d.Path(v), "file"), []byte("work"), 0o600))
			for _, before := range []string{"the same mount", "another mount"} {
				must(t, remount(disk, root, unix.MS_RDONLY))
				if before == "another mount" {
					must(t, unix.Unmount(root, 0))
				}
				d = New(c)
				if err := d.Mount(t.Context()); err != nil || !d.Present() {
					t.Fatalf("%s: %v", before, err)
				}
				if data, err := os.ReadFile(filepath.Join(d.Path(v), "file")); err != nil || string(data) != "work" {
					t.Errorf("%s: it holds %q, %v", before, data, err)
				}
				if err := d.CreateSnapshot(t.Context(), snapshotOf(v, "s0")); !errors.Is(err, unix.EROFS) {
					t.Errorf("%s: %v", before, err)
				}
				must(t, unix.Mount("", disk, "", unix.MS_REMOUNT, ""))
				must(t, New(c).Mount(t.Context())) // as the next start does
				must(t, d.CreateSnapshot(t.Context(), snapshotOf(v, "s0")))
				must(t, d.DeleteVolume(t.Context(), snapshotOf(v, "s0")))
			}
			must(t, d.Unmount(t.Context()))
		})
	}
}

// TestPoolComesBackFromReadOnly: a source that was mounted read-only when its pool was to be mounted is used as soon as it is writable.
func TestPoolComesBackFromReadOnly(t *testing.T) {
	source, root := t.TempDir(), filepath.Join(t.TempDir(), "pool")
	if err := unix.Mount("disk", source, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Unmount(root, unix.MNT_DETACH)
		_ = unix.Unmount(source, unix.MNT_DETACH)
	})
	d := New(storagedriver.Config{Root: root, Options: map[string]string{"source": source}})
	if err := d.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", source, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := d.Mount(t.Context()); !errors.Is(err, unix.EROFS) {
		t.Fatalf("mounted read-only: %v", err)
	}
	if err := unix.Mount("", source, "", unix.MS_REMOUNT|unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := d.Mount(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.CreateVolume(t.Context(), storagedriver.Volume{Kind: storagedriver.Custom, Name: "v"}, nil); err != nil {
		t.Error(err)
	}
	if err := d.Unmount(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestPoolOfWhichSomethingIsLeftIsThere: a deletion that failed half way has removed some of its folders, in any order.
func TestPoolOfWhichSomethingIsLeftIsThere(t *testing.T) {
	for gone := range layout() {
		d := New(storagedriver.Config{Root: filepath.Join(t.TempDir(), "pool")})
		if err := d.Create(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(d.root, gone)); err != nil {
			t.Fatal(err)
		}
		if err := d.Mount(t.Context()); err != nil {
			t.Errorf("without %s: %v", gone, err)
		}
	}
}
