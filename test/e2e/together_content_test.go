package e2e

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
	"github.com/berthd/berth/test/harness"
)

// manyFiles is how many files make a copy last long enough to be met by another change.
const manyFiles = 8000

// fill puts many files, each with its number in it, into an instance that is stopped.
func fill(c *clients, name string) {
	c.T.Helper()
	for n := range manyFiles {
		dir := filepath.Join(c.Dir, "containers", name, "rootfs", "many", fmt.Sprint(n/1000))
		if n%1000 == 0 {
			c.must(os.MkdirAll(dir, 0o755))
		}
		c.must(os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), []byte(fmt.Sprint(n)), 0o644))
	}
}

// filled counts the files in a folder that are as fill made them.
func filled(dir string) (count int) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if data, _ := os.ReadFile(path); string(data) == e.Name() {
				count++
			}
		}
		return nil
	})
	return count
}

// unfinished counts the files of copies that are being made in the pool.
func unfinished(c *clients, copies int) (count []int) {
	dirs, _ := filepath.Glob(filepath.Join(c.Dir, "storage-pools/default/containers/.tmp *"))
	for _, dir := range dirs {
		n := 0
		parts, _ := os.ReadDir(filepath.Join(dir, "rootfs/many"))
		for _, p := range parts {
			files, _ := os.ReadDir(filepath.Join(dir, "rootfs/many", p.Name()))
			n += len(files)
		}
		count = append(count, n)
	}
	if len(count) > copies {
		c.T.Fatalf("%d copies are being made: %v", len(count), dirs)
	}
	return count
}

func copyOf(by *client.Client, source, name string) (*client.Operation, error) {
	return by.CreateInstance(api.InstancesPost{Name: name, Source: api.InstanceSource{Type: "copy", Source: source}})
}

// TestTwoClientsACopyHasAllOfItsSource deletes, and then copies twice, what is being copied.
func TestTwoClientsACopyHasAllOfItsSource(t *testing.T) {
	c := twoClients(t)
	c.must(create(c.one, "b", nil))
	fill(c, "b")
	begun := func(copies, files int) func() bool {
		return func() bool {
			n := unfinished(c, copies)
			return len(n) == copies && n[len(n)-1] > files
		}
	}

	// While one who runs is copied twice, it is not let go on by the copy that ends first.
	c.must(done(c.one.UpdateInstanceState("b", api.InstanceStatePut{Action: "start", Timeout: 30}, "")))
	first, err := copyOf(c.one, "b", "t1")
	c.must(err)
	harness.Eventually(t, time.Minute, "the first copy is under way", begun(1, manyFiles/4))
	second, err := copyOf(c.two, "b", "t2")
	c.must(err)
	ended := make(chan error, 2)
	go func() { ended <- done(first, nil) }()
	go func() { ended <- done(second, nil) }()
	frozen := 0
	for left := 2; left > 0; {
		select {
		case err := <-ended:
			c.must(err)
			left--
		default:
			before := unfinished(c, 2)
			state, _, err := c.one.InstanceState("b")
			c.must(err)
			after := unfinished(c, 2)
			if state.Status == "Frozen" {
				frozen++
			}
			if len(before) == 1 && len(after) == 1 && 0 < before[0] && before[0] < after[0] && state.Status == "Running" {
				t.Fatalf("it is running while %d of %d files are copied", after[0], manyFiles)
			}
		}
	}
	if frozen == 0 {
		t.Error("it was never seen frozen")
	}
	wantStatus(c.Daemon, "b", "RUNNING")
	for _, name := range []string{"t1", "t2"} {
		if n := filled(filepath.Join(c.Dir, "containers", name, "rootfs/many")); n != manyFiles {
			t.Errorf("%s has %d of %d files", name, n, manyFiles)
		}
	}
	c.must(done(c.one.UpdateInstanceState("b", api.InstanceStatePut{Action: "stop", Force: true}, "")))
	c.remove("t1", "t2")

	op, err := copyOf(c.one, "b", "t")
	c.must(err)
	harness.Eventually(t, time.Minute, "the copy is under way", begun(1, 0))
	errs := together(func() error { return done(op, nil) }, func() error { return done(c.two.DeleteInstance("b")) })
	whole := 0
	for n, name := range []string{"t", "b"} {
		_, _, err := c.one.Instance(name)
		there, want := err == nil, (errs[n] == nil) == (name == "t")
		if there != want {
			t.Errorf("%s: listed %t after %v", name, there, errs[n])
		}
		if !there {
			continue
		}
		whole++
		if n := filled(filepath.Join(c.Dir, "containers", name, "rootfs/many")); n != manyFiles {
			t.Errorf("%s has %d of %d files; the copy ended with %v, the delete with %v", name, n, manyFiles, errs[0], errs[1])
		}
	}
	if whole == 0 {
		t.Errorf("neither is left: %v", errs)
	}
	t.Logf("copy: %v, delete: %v", errs[0], errs[1])
}

// TestTwoClientsWhatIsCopiedIsNotStarted starts a stopped instance while it is copied.
func TestTwoClientsWhatIsCopiedIsNotStarted(t *testing.T) {
	c := twoClients(t)
	c.must(create(c.one, "b", nil))
	fill(c, "b")
	op, err := copyOf(c.one, "b", "t")
	c.must(err)
	harness.Eventually(t, time.Minute, "the copy is under way", func() bool {
		n := unfinished(c, 1)
		return len(n) == 1 && n[0] > 0
	})
	start := func() error {
		return done(c.two.UpdateInstanceState("b", api.InstanceStatePut{Action: "start", Timeout: 30}, ""))
	}
	refused := start()
	if n := unfinished(c, 1); len(n) != 1 || n[0] == manyFiles {
		t.Fatalf("the copy was over too soon, so this shows nothing: %v", n)
	}
	if refused == nil || !strings.Contains(refused.Error(), `Instance is busy running a "copy" operation`) {
		t.Errorf("a start under the copy: %v", refused)
	}
	c.must(done(op, nil))
	if n := filled(filepath.Join(c.Dir, "containers/t/rootfs/many")); n != manyFiles {
		t.Errorf("the copy has %d of %d files", n, manyFiles)
	}
	c.must(start())
	wantStatus(c.Daemon, "b", "RUNNING")
	c.must(done(c.one.UpdateInstanceState("b", api.InstanceStatePut{Action: "stop", Force: true}, "")))
	c.remove("b", "t")
}

// TestWhatLiesInAPoolStaysThere has calls fail because of folders in a pool that nobody here has made.
func TestWhatLiesInAPoolStaysThere(t *testing.T) {
	c := twoClients(t)
	pools := filepath.Join(c.Dir, "storage-pools")
	c.Berth("storage", "create", "p2", "dir")
	for _, name := range []string{"c1", "c2"} {
		c.must(create(c.one, name, nil))
		c.must(c.one.CreateStorageVolume("default", api.StorageVolumesPost{Name: "v" + name, Type: "custom"}))
	}
	c.must(c.one.CreateStorageVolume("default", api.StorageVolumesPost{Name: "v", Type: "custom"}))
	tests := map[string]struct {
		lies string
		call func() error
	}{
		"create": {"default/containers/pre", func() error { return create(c.one, "pre", nil) }},
		"copy":   {"default/containers/pre2", func() error { return done(copyOf(c.one, "c1", "pre2")) }},
		"rename": {"default/containers/pre3", func() error { return done(c.one.RenameInstance("c2", api.InstancePost{Name: "pre3"})) }},
		"move": {"p2/containers/c1", func() error {
			return done(c.one.RenameInstance("c1", api.InstancePost{Name: "c1", Pool: "p2", Migration: true}))
		}},
		"snapshot": {"default/containers-snapshots/c1/pre", func() error {
			return done(c.one.CreateInstanceSnapshot("c1", api.InstanceSnapshotsPost{Name: "pre"}))
		}},
		"volume": {"default/custom/default_pre", func() error {
			return c.one.CreateStorageVolume("default", api.StorageVolumesPost{Name: "pre", Type: "custom"})
		}},
		"volume's snapshot": {"default/custom-snapshots/default_v/pre", func() error {
			return done(c.one.CreateStorageVolumeSnapshot("default", "v", api.StorageVolumeSnapshotsPost{Name: "pre"}))
		}},
		"volume's rename": {"default/custom/default_pre2", func() error { return c.one.RenameStorageVolume("default", "vc2", "pre2") }},
		"volume's move": {"p2/custom/default_vc1", func() error {
			return done(c.one.MoveStorageVolume("default", "vc1", api.StorageVolumePost{Name: "vc1", Pool: "p2"}))
		}},
	}
	// The moves last: from then on c1 is in another pool.
	order := slices.SortedFunc(maps.Keys(tests), func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(a, "move"), strings.Count(b, "move")), cmp.Compare(a, b))
	})
	for _, what := range order {
		test := tests[what]
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(pools, test.lies)
			c.must(os.MkdirAll(dir, 0o700))
			c.must(os.WriteFile(filepath.Join(dir, "kept"), []byte("kept"), 0o600))
			if err := test.call(); err == nil {
				t.Error("it succeeds in the place of something else")
			}
			if data, err := os.ReadFile(filepath.Join(dir, "kept")); string(data) != "kept" {
				t.Errorf("what was there before is gone: %v", err)
			}
			c.Restart()
			if data, err := os.ReadFile(filepath.Join(dir, "kept")); string(data) != "kept" {
				t.Errorf("what was there before is gone after a restart: %v", err)
			}
			c.must(os.RemoveAll(dir))
			if strings.Contains(test.lies, "-snapshots/") {
				_ = os.Remove(filepath.Dir(dir)) // if there is no other
			}
			if _, err := os.Stat(filepath.Join(c.Dir, "containers/c1/rootfs/bin")); err != nil {
				t.Errorf("c1 after the failure: %v", err)
			}
			if err := test.call(); err != nil { // now that the place is free
				t.Errorf("afterwards: %v", err)
			}
		})
	}
	for _, name := range []string{"pre", "pre2", "pre3", "c1"} {
		c.Berth("delete", name)
	}
	for _, volume := range []string{"default/pre", "default/pre2", "default/v", "p2/vc1"} {
		pool, name, _ := strings.Cut(volume, "/")
		c.Berth("storage", "volume", "delete", pool, name)
	}
	c.Berth("storage", "delete", "p2")
}
