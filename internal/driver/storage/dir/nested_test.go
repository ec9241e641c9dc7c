package dir

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
)

const nestedRoot = "BERTH_DIR_TEST_NESTED"

// TestADaemonInAContainerHasVolumes: root of a user namespace cannot put identities on them.
func TestADaemonInAContainerHasVolumes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if root := os.Getenv(nestedRoot); root != "" {
		testNested(t, root)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), nestedRoot+"="+t.TempDir())
	all := []syscall.SysProcIDMap{{Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: all, GidMappings: all, GidMappingsEnableSetgroups: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in a user namespace: %v\n%s", err, out)
	}
}

func testNested(t *testing.T, root string) {
	ctx := t.Context()
	d := New(storagedriver.Config{Root: filepath.Join(root, "pool")})
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(d.Create(ctx))
	ok(d.Mount(ctx))
	a := storagedriver.Volume{Kind: storagedriver.Containers, Name: "a", UUID: "11111111-0000-4000-8000-000000000000"}
	b := storagedriver.Volume{Kind: storagedriver.Containers, Name: "b"}
	ok(d.CreateVolume(ctx, a, func(_ context.Context, dir string) error {
		return os.WriteFile(filepath.Join(dir, "f"), []byte("content"), 0o600)
	}))
	snap := a
	snap.Snapshot, snap.UUID = "s", "22222222-0000-4000-8000-000000000000"
	ok(d.CreateSnapshot(ctx, snap))
	ok(d.CopyVolume(ctx, b, snap))
	if got, err := os.ReadFile(filepath.Join(d.Path(b), "f")); err != nil || string(got) != "content" {
		t.Errorf("the copy has %q, %v", got, err)
	}
	ok(d.ClaimVolume(ctx, a)) // what is known to be meant goes by its name
	for _, v := range []storagedriver.Volume{{Kind: a.Kind, Name: a.Name, Snapshot: snap.Snapshot}, {Kind: a.Kind, Name: a.Name}, b} {
		ok(d.DeleteVolume(ctx, v))
	}
	ok(d.Delete(ctx))
}
