// Package loopfs gives a test a file system of its own, of a kind it names, on a loop device.
package loopfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// size is what mkfs.xfs wants at least, and some; the file that holds it is sparse.
const size = 512 << 20

// makers are the programs, with arguments, that make a file system on a file.
var makers = map[string][]string{
	"ext4":  {"mkfs.ext4", "-q", "-F"},
	"btrfs": {"mkfs.btrfs", "-q"},
	"xfs":   {"mkfs.xfs", "-q"},
}

// Kinds lists the kinds of file system there may be.
func Kinds() []string { return []string{"ext4", "btrfs", "xfs"} }

// Each runs a test on each kind of file system.
func Each(t *testing.T, run func(t *testing.T, kind, path string)) {
	for _, kind := range Kinds() {
		t.Run(kind, func(t *testing.T) { run(t, kind, Mount(t, kind)) })
	}
}

// Mount makes and mounts an empty file system until the test ends, and returns its top. The test is skipped, with the reason,
// where that cannot be done.
func Mount(t testing.TB, kind string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	mkfs := makers[kind]
	if _, err := exec.LookPath(mkfs[0]); err != nil {
		t.Skipf("%s is missing", mkfs[0])
	}
	dir := t.TempDir()
	image, point := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	for _, err := range []error{os.WriteFile(image, nil, 0o600), os.Truncate(image, size), os.Mkdir(point, 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(mkfs[0], append(mkfs[1:len(mkfs):len(mkfs)], image)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", mkfs[0], err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, point).CombinedOutput(); err != nil {
		t.Skipf("%s cannot be mounted: %s", kind, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", point).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", point, err, out)
		}
	})
	return point
}
