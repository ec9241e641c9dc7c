package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDeepTemplateTargetsAreQuick: some twenty kilobytes of metadata kept a processor busy for a minute. The calls are counted, not the time.
func TestDeepTemplateTargetsAreQuick(t *testing.T) {
	var targets []string
	for n := range 3 {
		targets = append(targets, fmt.Sprintf("/%03d/%sf", n, strings.Repeat("a/", 2000)))
	}
	h, rootfs := templated(t, "x", targets...)
	if err := h.action("c1", "start"); err == nil || !strings.Contains(err.Error(), "4096 folders together") {
		t.Errorf("the start says %.200v", err)
	}
	if entries, err := os.ReadDir(rootfs); err != nil || len(entries) != 0 {
		t.Errorf("some of it is there: %v, %v", entries, err)
	}
}

// TestFoldersOfATargetAreMadeThroughLinks that are there, and one in the other.
func TestFoldersOfATargetAreMadeThroughLinks(t *testing.T) {
	h, rootfs := templated(t, "x", "/var/run/a/b/c/made", "/var/run/a/d/made", "/"+strings.Repeat("a/", 2000)+"made")
	h.do(os.MkdirAll(filepath.Join(rootfs, "var"), 0o755))
	h.do(os.Mkdir(filepath.Join(rootfs, "run"), 0o755))
	h.do(os.Symlink("../run", filepath.Join(rootfs, "var/run")))
	h.do(h.action("c1", "start"))
	for _, file := range []string{"run/a/b/c/made", "run/a/d/made"} {
		if got, err := os.ReadFile(filepath.Join(rootfs, file)); err != nil || string(got) != "x" {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
}

// TestFoldersEndWithTheirContext, however many there are.
func TestFoldersEndWithTheirContext(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := mkdirBeneath(ctx, root, "a/b/c", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("made with %v", err)
	}
	if _, err := root.Stat("a"); err == nil {
		t.Error("a folder was made")
	}
}
