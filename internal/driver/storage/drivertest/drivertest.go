// Package drivertest is the conformance suite of storage drivers: the contract in package storagedriver, as tests.
package drivertest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
)

// Factory makes the driver under test for a pool; it is called again for the same pool, as a new daemon would.
type Factory func(c storagedriver.Config) storagedriver.Driver

// name is the one file of the suite's volumes.
const name = "file"

type suite struct {
	*testing.T
	ctx    context.Context
	make   Factory
	config storagedriver.Config
	driver storagedriver.Driver
}

// Run runs the suite, with pools in a folder. It needs root.
func Run(t *testing.T, folder string, make Factory) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"pool can be made, mounted twice and deleted twice", (*suite).pool},
		{"pool is made once, and laid again", (*suite).repair},
		{"volume appears whole or not at all", (*suite).create},
		{"volume and its snapshots are renamed together", (*suite).rename},
		{"two volumes change places", (*suite).exchange},
		{"volume and snapshots are deleted one by one", (*suite).delete},
		{"what another made is left alone", (*suite).identity},
		{"pool that holds what no volume accounts for stays", (*suite).foreign},
		{"place of another pool is left alone", (*suite).other},
		{"snapshot keeps what was, and gives it back", (*suite).snapshot},
		{"copy is independent of its source", (*suite).copy},
		{"kinds do not mix", (*suite).kinds},
		{"cancelled work leaves nothing", (*suite).cancel},
		{"quota and usage", (*suite).quota},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(newSuite(t, folder, make))
		})
	}
}

// newSuite makes and mounts a pool for one test.
func newSuite(t *testing.T, folder string, make Factory) *suite {
	s := &suite{T: t, ctx: context.Background(), make: make}
	s.config = storagedriver.Config{Root: filepath.Join(folder, "pool"), UUID: "5f75b32a-84c9-4d8f-aadf-364e835a6ff0"}
	s.driver = make(s.config)
	s.ok(s.driver.Create(s.ctx))
	s.ok(s.driver.Mount(s.ctx))
	t.Cleanup(func() {
		s.empty()
		s.ok(s.driver.Unmount(s.ctx))
		s.ok(s.driver.Delete(s.ctx))
		s.missing(s.config.Root)
	})
	return s
}

// empty deletes all volumes of the pool, which is only then deleted itself.
func (s *suite) empty() {
	s.Helper()
	for _, kind := range storagedriver.Kinds() {
		for _, v := range s.entries(string(kind)) {
			s.ok(s.driver.DeleteVolume(s.ctx, storagedriver.Volume{Kind: kind, Name: v}))
		}
		for _, v := range s.entries(string(kind) + "-snapshots") {
			for _, snapshot := range s.entries(string(kind) + "-snapshots/" + v) {
				s.ok(s.driver.DeleteVolume(s.ctx, storagedriver.Volume{Kind: kind, Name: v, Snapshot: snapshot}))
			}
		}
	}
}

// entries lists a folder of the pool; one that is not there is empty.
func (s *suite) entries(folder string) []string {
	s.Helper()
	entries, err := os.ReadDir(filepath.Join(s.config.Root, folder))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (s *suite) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) is(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Fatalf("got %v, want %v", err, want)
	}
}

func (s *suite) missing(path string) {
	s.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		s.Fatalf("%s is there (%v)", path, err)
	}
}

func (s *suite) holds(v storagedriver.Volume, want string) {
	s.Helper()
	s.ok(s.driver.MountVolume(s.ctx, v))
	got, err := os.ReadFile(filepath.Join(s.driver.Path(v), name))
	s.ok(err)
	if string(got) != want {
		s.Fatalf("%s holds %q, want %q", v, got, want)
	}
	s.ok(s.driver.UnmountVolume(s.ctx, v))
}

func (s *suite) write(v storagedriver.Volume, text string) {
	s.Helper()
	s.ok(s.driver.MountVolume(s.ctx, v))
	s.ok(os.WriteFile(filepath.Join(s.driver.Path(v), name), []byte(text), 0o600))
	s.ok(s.driver.UnmountVolume(s.ctx, v))
}

func (s *suite) exists(v storagedriver.Volume, want bool) {
	s.Helper()
	got, err := s.driver.Exists(v)
	s.ok(err)
	if got != want {
		s.Fatalf("%s exists: %v, want %v", v, got, want)
	}
}

func fill(text string) storagedriver.Fill {
	return func(_ context.Context, dir string) error {
		return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)
	}
}

func container(name string) storagedriver.Volume {
	return storagedriver.Volume{Kind: storagedriver.Containers, Name: name}
}

func snap(v storagedriver.Volume, snapshot string) storagedriver.Volume {
	v.Snapshot = snapshot
	return v
}

// clean fails if a pool mounted anew holds anything but the volumes named, in the folder of a kind.
func (s *suite) clean(kind string, want ...string) {
	s.Helper()
	entries, err := os.ReadDir(filepath.Join(s.config.Root, kind))
	s.ok(err)
	if len(entries) != len(want) {
		s.Fatalf("%s holds %v, want %v", kind, entries, want)
	}
	for i, e := range entries {
		if e.Name() != want[i] {
			s.Fatalf("%s holds %v, want %v", kind, entries, want)
		}
	}
}

func (s *suite) pool() {
	s.ok(s.make(s.config).Mount(s.ctx))
	s.ok(s.driver.CreateVolume(s.ctx, container("a"), fill("x")))
	s.ok(s.driver.Unmount(s.ctx))
	s.ok(s.driver.Unmount(s.ctx))
	s.ok(s.make(s.config).Mount(s.ctx))
	s.holds(container("a"), "x")
	s.ok(s.driver.DeleteVolume(s.ctx, container("a")))
	s.ok(s.driver.Unmount(s.ctx))
	s.ok(s.driver.Delete(s.ctx))
	s.ok(s.driver.Delete(s.ctx))
	s.ok(s.driver.Create(s.ctx)) // nothing is in the way of the next
	s.ok(s.driver.Mount(s.ctx))
}

// repair makes what is missing of the pool, which Create must not: what is there may be another's.
func (s *suite) repair() {
	s.ok(s.driver.CreateVolume(s.ctx, container("a"), fill("x")))
	if err := s.driver.Create(s.ctx); err == nil {
		s.Fatal("a pool was made where there is one")
	}
	s.ok(s.driver.Repair(s.ctx)) // in use
	s.holds(container("a"), "x")
	s.ok(s.driver.DeleteVolume(s.ctx, container("a")))
	for name, damage := range map[string]func() error{
		"of which a part has gone": func() error { return os.Remove(filepath.Join(s.config.Root, "custom")) },
		"that has been deleted":    func() error { return errors.Join(s.driver.Unmount(s.ctx), s.driver.Delete(s.ctx)) },
	} {
		s.ok(damage())
		d := s.make(s.config)
		s.ok(d.Repair(s.ctx))
		s.ok(d.Repair(s.ctx))
		s.ok(d.Mount(s.ctx))
		v := storagedriver.Volume{Kind: storagedriver.Custom, Name: "v"}
		if err := d.CreateVolume(s.ctx, v, fill("y")); err != nil {
			s.Fatalf("a pool %s: %v", name, err)
		}
		s.ok(d.DeleteVolume(s.ctx, v))
	}
}

func (s *suite) create() {
	failure := errors.New("failure")
	v := container("a")
	err := s.driver.CreateVolume(s.ctx, v, func(ctx context.Context, dir string) error {
		s.exists(v, false)
		return errors.Join(fill("x")(ctx, dir), failure)
	})
	s.is(err, failure)
	s.exists(v, false)
	s.clean("containers")
	s.ok(s.driver.CreateVolume(s.ctx, v, fill("x")))
	s.holds(v, "x")
	s.is(s.driver.CreateVolume(s.ctx, v, fill("y")), storagedriver.ErrExists)
	s.holds(v, "x")
	s.ok(s.driver.CreateVolume(s.ctx, container("empty"), nil))
	s.clean("containers", "a", "empty")
	s.is(s.driver.MountVolume(s.ctx, container("none")), storagedriver.ErrNotFound)
}

func (s *suite) rename() {
	s.ok(s.driver.CreateVolume(s.ctx, container("a"), fill("x")))
	s.ok(s.driver.CreateSnapshot(s.ctx, snap(container("a"), "s0")))
	s.ok(s.driver.CreateVolume(s.ctx, container("taken"), fill("t")))
	s.is(s.driver.RenameVolume(s.ctx, container("a"), container("taken")), storagedriver.ErrExists)
	s.is(s.driver.RenameVolume(s.ctx, container("none"), container("b")), storagedriver.ErrNotFound)
	s.ok(s.driver.RenameVolume(s.ctx, container("a"), container("b")))
	s.ok(s.driver.RenameVolume(s.ctx, container("a"), container("b"))) // done already
	s.exists(container("a"), false)
	s.holds(container("b"), "x")
	s.holds(snap(container("b"), "s0"), "x")
	s.ok(s.driver.RenameVolume(s.ctx, snap(container("b"), "s0"), snap(container("b"), "s1")))
	s.ok(s.driver.RenameVolume(s.ctx, snap(container("b"), "s0"), snap(container("b"), "s1")))
	s.exists(snap(container("b"), "s0"), false)
	s.holds(snap(container("b"), "s1"), "x")
}

// exchange has two volumes change places, with their identities; snapshots stay where they are.
func (s *suite) exchange() {
	a, b := container("a"), container("b")
	s.ok(s.driver.CreateVolume(s.ctx, with(a, "one"), fill("x")))
	s.ok(s.driver.CreateSnapshot(s.ctx, snap(a, "s0")))
	s.is(s.driver.ExchangeVolumes(s.ctx, a, b), storagedriver.ErrNotFound)
	s.ok(s.driver.CreateVolume(s.ctx, with(b, "two"), fill("y")))
	s.ok(s.driver.ExchangeVolumes(s.ctx, a, b))
	s.holds(a, "y")
	s.holds(b, "x")
	s.holds(snap(a, "s0"), "x")
	s.is(s.driver.DeleteVolume(s.ctx, with(a, "one")), storagedriver.ErrForeign)
	s.ok(s.driver.DeleteVolume(s.ctx, with(b, "one")))
	s.holds(a, "y")
}

func (s *suite) delete() {
	v := container("a")
	s.ok(s.driver.DeleteVolume(s.ctx, v)) // is not there
	s.ok(s.driver.CreateVolume(s.ctx, v, fill("x")))
	s.ok(s.driver.CreateSnapshot(s.ctx, snap(v, "s0")))
	s.ok(s.driver.CreateSnapshot(s.ctx, snap(v, "s1")))
	s.ok(s.driver.DeleteVolume(s.ctx, snap(v, "s0")))
	s.ok(s.driver.DeleteVolume(s.ctx, snap(v, "s0")))
	s.exists(snap(v, "s0"), false)
	s.holds(snap(v, "s1"), "x")
	s.holds(v, "x")
	s.ok(s.driver.DeleteVolume(s.ctx, v))
	s.exists(v, false)
	s.holds(snap(v, "s1"), "x")
	s.ok(s.driver.DeleteVolume(s.ctx, snap(v, "s1")))
	s.exists(snap(v, "s1"), false)
	s.clean("containers")
	s.clean("containers-snapshots")
}

func with(v storagedriver.Volume, uuid string) storagedriver.Volume {
	v.UUID = uuid
	return v
}

// identity has volumes of one name made, and undone, by those who think that it is theirs.
func (s *suite) identity() {
	a, b, a0 := container("a"), container("b"), snap(container("a"), "s0")
	s.ok(s.driver.CreateVolume(s.ctx, with(a, "one"), fill("x")))
	s.is(s.driver.CreateVolume(s.ctx, with(a, "two"), fill("y")), storagedriver.ErrExists)
	s.is(s.driver.DeleteVolume(s.ctx, with(a, "two")), storagedriver.ErrForeign)
	s.ok(s.driver.CreateSnapshot(s.ctx, with(a0, "one-s0")))
	s.is(s.driver.DeleteVolume(s.ctx, with(a0, "one")), storagedriver.ErrForeign)
	s.holds(a, "x")
	s.holds(a0, "x")

	// A copy is a volume of its own, and so is a snapshot of one, whatever it was made from.
	for _, source := range []storagedriver.Volume{a, a0} {
		s.ok(s.driver.CopyVolume(s.ctx, with(b, "b"), source))
		s.ok(s.driver.CopySnapshot(s.ctx, with(snap(b, "s0"), "b-s0"), a0))
		s.is(s.driver.DeleteVolume(s.ctx, with(b, "one")), storagedriver.ErrForeign)
		s.is(s.driver.DeleteVolume(s.ctx, with(snap(b, "s0"), "one-s0")), storagedriver.ErrForeign)
		s.ok(s.driver.DeleteVolume(s.ctx, with(b, "b")))
		s.ok(s.driver.DeleteVolume(s.ctx, with(snap(b, "s0"), "b-s0")))
	}

	// It stays what it is when it is restored and renamed.
	s.ok(s.driver.RestoreSnapshot(s.ctx, a0))
	s.is(s.driver.RenameVolume(s.ctx, with(a, "two"), b), storagedriver.ErrForeign)
	s.ok(s.driver.RenameVolume(s.ctx, with(a, "one"), b))
	s.ok(s.driver.RenameVolume(s.ctx, with(a, "one"), b))
	s.is(s.driver.RenameVolume(s.ctx, with(a, "two"), b), storagedriver.ErrForeign)
	s.is(s.driver.DeleteVolume(s.ctx, with(b, "two")), storagedriver.ErrForeign)
	s.ok(s.driver.DeleteVolume(s.ctx, with(snap(b, "s0"), "one-s0")))
	s.ok(s.driver.DeleteVolume(s.ctx, with(b, "one")))

	// What says nothing of itself is nobody's to undo, and can be deleted by its name.
	s.ok(s.driver.CreateVolume(s.ctx, a, fill("old")))
	s.is(s.driver.DeleteVolume(s.ctx, with(a, "one")), storagedriver.ErrUnmarked)
	s.is(s.driver.RenameVolume(s.ctx, with(a, "one"), b), storagedriver.ErrUnmarked)
	s.holds(a, "old")
	s.ok(s.driver.ClaimVolume(s.ctx, with(a, "one")))
	s.is(s.driver.ClaimVolume(s.ctx, with(a, "two")), storagedriver.ErrForeign)
	s.is(s.driver.DeleteVolume(s.ctx, with(a, "two")), storagedriver.ErrForeign)
	s.ok(s.driver.DeleteVolume(s.ctx, with(a, "one")))
	s.clean("containers")
	s.clean("containers-snapshots")
}

// foreign puts a volume into the pool that it has not been asked to make, and removes the pool.
func (s *suite) foreign() {
	left := filepath.Join(s.config.Root, "containers", "left")
	s.ok(os.MkdirAll(left, 0o700))
	s.is(s.driver.Delete(s.ctx), storagedriver.ErrNotEmpty)
	s.ok(s.driver.Mount(s.ctx))
	s.exists(container("left"), true)
	s.ok(os.Remove(left))
}

func (s *suite) other() {
	v := container("a")
	s.ok(s.driver.CreateVolume(s.ctx, v, fill("one")))
	s.ok(s.driver.Unmount(s.ctx))
	config := s.config
	config.UUID = "3f0b1c6e-0000-4000-8000-000000000001"
	other := s.make(config)
	s.is(other.Mount(s.ctx), storagedriver.ErrOther)
	s.is(other.Repair(s.ctx), storagedriver.ErrOther)
	s.is(other.Delete(s.ctx), storagedriver.ErrAway)
	s.ok(s.driver.Mount(s.ctx))
	s.holds(v, "one")
	s.empty()
	s.ok(s.driver.Unmount(s.ctx))
	s.ok(s.driver.Delete(s.ctx)) // with which its mark goes
	s.ok(other.Create(s.ctx))
	s.is(s.driver.Mount(s.ctx), storagedriver.ErrOther)
	s.ok(other.Delete(s.ctx))
}

func (s *suite) snapshot() {
	v := container("a")
	s.ok(s.driver.CreateVolume(s.ctx, v, fill("one")))
	s.ok(s.driver.CreateSnapshot(s.ctx, snap(v, "s0")))
	s.is(s.driver.CreateSnapshot(s.ctx, snap(v, "s0")), storagedriver.ErrExists)
	s.write(v, "two")
	s.ok(s.driver.CreateSnapshot(s.ctx, snap(v, "s1")))
	s.holds(snap(v, "s0"), "one")
	s.holds(snap(v, "s1"), "two")
	s.ok(s.driver.RestoreSnapshot(s.ctx, snap(v, "s0")))
	s.holds(v, "one")
	s.holds(snap(v, "s1"), "two") // later snapshots stay
	s.is(s.driver.RestoreSnapshot(s.ctx, snap(v, "none")), storagedriver.ErrNotFound)
	s.is(s.driver.CreateSnapshot(s.ctx, snap(container("none"), "s0")), storagedriver.ErrNotFound)
	s.holds(v, "one")
	s.clean("containers", "a")
}

func (s *suite) copy() {
	a, b, c := container("a"), container("b"), container("c")
	s.ok(s.driver.CreateVolume(s.ctx, a, fill("one")))
	s.ok(s.driver.CreateSnapshot(s.ctx, snap(a, "s0")))
	s.write(a, "two")
	s.ok(s.driver.CopyVolume(s.ctx, b, a))
	s.ok(s.driver.CopyVolume(s.ctx, c, snap(a, "s0")))
	s.ok(s.driver.CopySnapshot(s.ctx, snap(b, "s0"), snap(a, "s0")))
	s.write(a, "three")
	s.holds(b, "two")
	s.holds(c, "one")
	s.holds(snap(b, "s0"), "one")
	s.is(s.driver.CopyVolume(s.ctx, b, a), storagedriver.ErrExists)
	s.is(s.driver.CopyVolume(s.ctx, container("d"), container("none")), storagedriver.ErrNotFound)
	s.ok(s.driver.DeleteVolume(s.ctx, a))
	s.holds(b, "two")
	s.holds(snap(b, "s0"), "one")
	s.clean("containers", "b", "c")
}

func (s *suite) kinds() {
	for _, kind := range storagedriver.Kinds() {
		v := storagedriver.Volume{Kind: kind, Name: "same"}
		s.ok(s.driver.CreateVolume(s.ctx, v, fill(string(kind))))
	}
	image := storagedriver.Volume{Kind: storagedriver.Images, Name: "same"}
	s.ok(s.driver.CopyVolume(s.ctx, container("made"), image))
	s.ok(s.driver.DeleteVolume(s.ctx, image))
	s.holds(container("made"), "images")
	for _, kind := range storagedriver.Kinds()[:3] {
		s.holds(storagedriver.Volume{Kind: kind, Name: "same"}, string(kind))
	}
}

func (s *suite) cancel() {
	a := container("a")
	s.ok(s.driver.CreateVolume(s.ctx, a, fill("one")))
	s.ok(s.driver.CreateSnapshot(s.ctx, snap(a, "s0")))
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	for _, call := range []func() error{
		func() error { return s.driver.CopyVolume(ctx, container("b"), a) },
		func() error { return s.driver.CreateSnapshot(ctx, snap(a, "s1")) },
		func() error { return s.driver.RestoreSnapshot(ctx, snap(a, "s0")) },
	} {
		if err := call(); err != nil { // a driver may be too quick to be cancelled
			s.is(err, context.Canceled)
			s.exists(container("b"), false)
			s.exists(snap(a, "s1"), false)
		}
	}
	s.holds(a, "one")
	s.ok(s.make(s.config).Mount(s.ctx))
	s.clean("containers-snapshots", "a")
}

func (s *suite) quota() {
	v := container("a")
	s.ok(s.driver.CreateVolume(s.ctx, v, fill("x")))
	if u, ok := s.driver.(storagedriver.UsageReporter); ok {
		n, err := u.Usage(s.ctx, v)
		s.ok(err)
		if n < 0 {
			s.Errorf("usage %d", n)
		}
	}
	q, ok := s.driver.(storagedriver.QuotaSetter)
	if !ok {
		return
	}
	if err := q.SetQuota(s.ctx, v, 1<<20); errors.Is(err, errors.ErrUnsupported) {
		return // not on this file system
	} else {
		s.ok(err)
	}
	err := os.WriteFile(filepath.Join(s.driver.Path(v), "big"), make([]byte, 8<<20), 0o600)
	if err == nil {
		s.Error("a quota of 1 MiB let 8 MiB through")
	}
	s.ok(q.SetQuota(s.ctx, v, 0))
	s.ok(os.WriteFile(filepath.Join(s.driver.Path(v), "big"), make([]byte, 8<<20), 0o600))
}
