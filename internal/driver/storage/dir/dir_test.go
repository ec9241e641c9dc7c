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

// TestPoolComesBackFromReadOnly: a disk that was read-only when its pool was to be mounted is used as soon as it is writable.
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
