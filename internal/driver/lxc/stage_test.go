package lxc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAStageIsGoneOnceItsContainerRuns, and where its start has failed: it holds mounts of the host's folders.
func TestAStageIsGoneOnceItsContainerRuns(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	gone := func(when, id string) {
		t.Helper()
		if _, err := os.Lstat(d.layoutOf(id).Stage); !os.IsNotExist(err) {
			t.Errorf("%s: the stage is there: %v", when, err)
		}
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		h.do(err)
		if strings.Contains(string(mounts), d.layoutOf(id).Stage) {
			t.Errorf("%s: there are mounts on the stage", when)
		}
	}
	h.start(d, h.spec("c1"))
	gone("while it runs", "c1")
	s := h.spec("c2")
	s.RootFS.Path = filepath.Join(h.rootfs, "none")
	if _, err := d.Start(h.context(), s); err == nil {
		t.Fatal("it started")
	}
	gone("of a start that failed", "c2")
}
