package etcd

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/store"
	"github.com/berthd/berth/internal/store/storetest"
)

// TestDiskFull fills the disk of a member that is alone, in a process of its own: etcd that has failed keeps its files until
// that ends. With room again, another start has all that was said to be made.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	// Two segments of etcd's log take 128 MiB from the start, and the second one is not written to for long.
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=192m"); err != nil {
		t.Skip("needs root, to mount a tmpfs: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	counts := filepath.Join(t.TempDir(), "counts")
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestDiskGetsFull$", "-test.v")
	cmd.Env = append(os.Environ(), fullDir+"="+dir, fullCounts+"="+counts)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the process whose disk got full: %v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	var told map[string]int
	if data, err := os.ReadFile(counts); err != nil || json.Unmarshal(data, &told) != nil || len(told) != writers {
		t.Fatalf("%s %v", data, err)
	}
	c := startCluster(t, 1, func(int) string { return filepath.Join(dir, "etcd") })
	storetest.CheckCounts(t, c.engines(t, Options{})[0], told)
}

const (
	fullDir    = "ETCD_TEST_FULL_DIR"
	fullCounts = "ETCD_TEST_FULL_COUNTS"
)

// TestDiskGetsFull is the process that TestDiskFull starts. It goes on: what is under way when the disk is full ends in an
// error, and so does, at once, what comes later.
func TestDiskGetsFull(t *testing.T) {
	dir := os.Getenv(fullDir)
	if dir == "" {
		t.Skip("is a part of TestDiskFull")
	}
	c := startCluster(t, 1, func(int) string { return filepath.Join(dir, "etcd") })
	engine := c.engines(t, Options{})[0]
	load := storetest.StartLoad(t.Context(), "", []store.Engine{engine}, writers)
	load.Await(t, 50)
	fill(t, filepath.Join(dir, "ballast"))
	var err error
	for n := 0; err == nil; n++ {
		if n > 300 {
			t.Fatal("the disk does not get full")
		}
		_, err = engine.Commit(t.Context(), []store.Op{{Key: "/large", Value: make([]byte, 1<<20)}})
	}
	if !errors.Is(err, store.ErrUnknownOutcome) && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("on a full disk: %v", err)
	}
	select {
	case <-c.members[0].Failed():
	case <-time.After(patience):
		t.Fatal("the member does not say that it has failed")
	}
	load.AwaitFailure(t)
	load.Stop()
	begun := time.Now()
	_, err = engine.Commit(t.Context(), []store.Op{storetest.Put("/late", "x")})
	if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrUnknownOutcome) || time.Since(begun) > time.Second {
		t.Errorf("after the failure, in %s: %v", time.Since(begun), err)
	}
	t.Logf("%s; then: %v", load, err)
	counts, err := json.Marshal(load.Counts())
	if err := errors.Join(err, os.WriteFile(os.Getenv(fullCounts), counts, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// fill writes to a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}
