package dir

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/loopfs"
	"github.com/berthd/berth/internal/subvolume"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func onBtrfs(t *testing.T) (*Dir, context.Context) {
	d, ctx := New(storagedriver.Config{Root: filepath.Join(loopfs.Mount(t, "btrfs"), "pool")}), context.Background()
	must(t, d.Create(ctx))
	must(t, d.Mount(ctx))
	return d, ctx
}

// isSubvolume tells it by the inode, which only the top of a subvolume has.
func isSubvolume(t *testing.T, path string) bool {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	return st.Ino == 256
}

func container(name, snapshot string) storagedriver.Volume {
	return storagedriver.Volume{Kind: storagedriver.Containers, Name: name, Snapshot: snapshot}
}

// holds fails unless the volume is there with what fillNested wrote.
func holds(t *testing.T, d *Dir, v storagedriver.Volume) {
	t.Helper()
	for _, file := range []string{"rootfs/file", "rootfs/layers/one/file", "rootfs/layers/frozen/file"} {
		if got, err := os.ReadFile(filepath.Join(d.Path(v), file)); err != nil || string(got) != "text" {
			t.Errorf("%s: %s holds %q (%v)", v, file, got, err)
		}
	}
}

// fillNested writes what a guest with docker in it may look like.
func fillNested(_ context.Context, dir string) error {
	fs, rootfs := subvolume.FS{}, filepath.Join(dir, "rootfs")
	one := filepath.Join(rootfs, "layers", "one")
	return errors.Join(
		os.MkdirAll(filepath.Join(rootfs, "layers"), 0o755),
		fs.Make(one),
		os.WriteFile(filepath.Join(rootfs, "file"), []byte("text"), 0o600),
		os.WriteFile(filepath.Join(one, "file"), []byte("text"), 0o600),
		fs.Clone(filepath.Join(rootfs, "layers", "frozen"), one, true),
	)
}

func TestVolumesAreSubvolumes(t *testing.T) {
	d, ctx := onBtrfs(t)
	image := storagedriver.Volume{Kind: storagedriver.Images, Name: "image"}
	must(t, d.CreateVolume(ctx, image, func(_ context.Context, dir string) error {
		return os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o640)
	}))
	must(t, d.CopyVolume(ctx, container("a", ""), image))
	must(t, d.CreateSnapshot(ctx, container("a", "s0")))
	must(t, d.RestoreSnapshot(ctx, container("a", "s0")))
	must(t, d.CopyVolume(ctx, container("b", ""), container("a", "s0")))
	must(t, d.CopySnapshot(ctx, container("b", "s0"), container("a", "s0")))
	for _, v := range []storagedriver.Volume{image, container("a", ""), container("a", "s0"), container("b", ""), container("b", "s0")} {
		if !isSubvolume(t, d.Path(v)) {
			t.Errorf("%s is a plain folder", v)
		}
	}
	for _, v := range []storagedriver.Volume{container("a", ""), container("b", "")} {
		must(t, os.WriteFile(filepath.Join(d.Path(v), "file"), nil, 0))
	}
	if err := os.WriteFile(filepath.Join(d.Path(container("a", "s0")), "file"), nil, 0); !errors.Is(err, unix.EROFS) {
		t.Errorf("a snapshot was written to: %v", err)
	}
}

// TestSubvolumesOfGuests: none is lost in a copy, none keeps a volume from being deleted.
func TestSubvolumesOfGuests(t *testing.T) {
	d, ctx := onBtrfs(t)
	a := container("a", "")
	must(t, d.CreateVolume(ctx, a, fillNested))
	must(t, d.CreateSnapshot(ctx, container("a", "s0")))
	must(t, d.CopyVolume(ctx, container("b", ""), a))
	must(t, d.RestoreSnapshot(ctx, container("a", "s0")))
	for _, v := range []storagedriver.Volume{a, container("a", "s0"), container("b", "")} {
		holds(t, d, v)
	}
	must(t, d.CreateVolume(ctx, container("c", ""), fillNested))
	for _, name := range []string{"a", "b", "c"} {
		must(t, d.DeleteVolume(ctx, container(name, "")))
	}
	must(t, d.DeleteVolume(ctx, container("a", "s0")))
	for _, folder := range []string{"containers", "containers-snapshots"} {
		if left, err := os.ReadDir(filepath.Join(d.root, folder)); err != nil || len(left) > 0 {
			t.Errorf("%s holds %v (%v)", folder, left, err)
		}
	}
}

// TestPlainVolumesOnBtrfs: those that an earlier version made are still good.
func TestPlainVolumesOnBtrfs(t *testing.T) {
	d, ctx := onBtrfs(t)
	a := container("a", "")
	must(t, os.Mkdir(d.Path(a), 0o700))
	must(t, fillNested(ctx, d.Path(a)))
	must(t, d.CreateSnapshot(ctx, container("a", "s0")))
	must(t, d.CopyVolume(ctx, container("b", ""), a))
	must(t, d.RenameVolume(ctx, a, container("c", "")))
	must(t, d.RestoreSnapshot(ctx, container("c", "s0")))
	for _, v := range []storagedriver.Volume{container("b", ""), container("c", ""), container("c", "s0")} {
		holds(t, d, v)
		if !isSubvolume(t, d.Path(v)) {
			t.Errorf("%s is a plain folder", v)
		}
	}
	must(t, os.Mkdir(filepath.Join(d.root, "containers", tmpPrefix+"x"), 0o700))
	must(t, fillNested(ctx, filepath.Join(d.root, "containers", tmpPrefix+"x")))
	must(t, d.Mount(ctx))
	must(t, d.DeleteVolume(ctx, container("b", "")))
	if left, err := os.ReadDir(filepath.Join(d.root, "containers")); err != nil || len(left) != 1 {
		t.Errorf("containers holds %v (%v)", left, err)
	}
	must(t, d.DeleteVolume(ctx, container("c", "")))
	must(t, d.DeleteVolume(ctx, container("c", "s0")))
	must(t, d.Delete(ctx))
}

// TestQuotaOnBtrfs: a volume's size holds where quotas are enabled, and is unsupported where they are not.
func TestQuotaOnBtrfs(t *testing.T) {
	d, ctx := onBtrfs(t)
	v := container("q", "")
	must(t, d.CreateVolume(ctx, v, nil))
	if err := d.SetQuota(ctx, v, 1<<20); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without quotas: %v", err)
	}
	if out, err := exec.Command("btrfs", "quota", "enable", d.root).CombinedOutput(); err != nil {
		t.Skipf("btrfs quota enable: %v: %s", err, out)
	}
	late := container("late", "")
	must(t, d.CreateVolume(ctx, late, nil))
	must(t, d.SetQuota(ctx, late, 4<<20))
	write := func() error {
		f, err := os.Create(filepath.Join(d.Path(late), "big"))
		must(t, err)
		defer f.Close()
		for range 16 {
			if _, err := f.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
		}
		return nil
	}
	if err := write(); !errors.Is(err, unix.EDQUOT) {
		t.Errorf("16 MiB with a quota of 4 MiB: %v", err)
	}
	must(t, d.SetQuota(ctx, late, 0))
	must(t, write())
}
