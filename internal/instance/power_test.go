package instance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berthd/berth/internal/loopfs"
)

// TestAFileIsReplacedAtOnce has the power end when a file of an instance has just been replaced, and the names are on the disk: it is
// whole, the old one or the new one.
func TestAFileIsReplacedAtOnce(t *testing.T) {
	disk := loopfs.PowerDisk(t)
	for _, before := range []string{"", "old"} {
		if before != "" {
			if err := os.WriteFile(filepath.Join(disk.Path, "metadata.yaml"), []byte(before), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		root, err := os.OpenRoot(disk.Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := replaceBeneath(root, "metadata.yaml", []byte("new"), 0o644); err != nil {
			t.Error(err)
		}
		disk.SyncOther()
		disk.PowerCut(func() { _ = root.Close() })
		if got, err := os.ReadFile(filepath.Join(disk.Path, "metadata.yaml")); err != nil || string(got) != "new" {
			t.Errorf("instead of %q: %q, %v", before, got, err)
		}
	}
}
