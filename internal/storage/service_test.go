package storage

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/device/disk"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/driver/storage/dir"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// world is a daemon's storage: its engine and folder outlive the service, as they outlive a daemon.
type world struct {
	*testing.T
	ctx     context.Context
	engine  store.Engine
	root    string
	service *Service
	journal *journal.Journal
	used    map[VolumeID][]string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	w := &world{T: t, ctx: context.Background(), engine: store.NewMemory(), root: t.TempDir(), used: map[VolumeID][]string{}}
	w.restart()
	return w
}

// restart is what a daemon does that comes up again.
func (w *world) restart() {
	w.Helper()
	w.build()
	w.ok(w.service.Store.Load(w.ctx))
	w.ok(w.service.Start(w.ctx))
	w.ok(w.journal.Recover(w.ctx))
}

// onlyDefault is the projects of a server that has no other.
type onlyDefault struct{ project.Single }

// Effective has the project "theirs" share what is the default one's.
func (onlyDefault) Effective(_ project.Kind, name string) string {
	if name == "theirs" {
		return "default"
	}
	return name
}

func (onlyDefault) Check(name string) error {
	if name != "default" {
		return api.NotFound("Project not found")
	}
	return nil
}

// build makes a service of what is there; it has loaded and mounted nothing yet.
func (w *world) build() {
	s := store.New(w.engine)
	w.journal = journal.New(s)
	w.service = New(Deps{
		Store: s, Journal: w.journal, Events: event.Nobody{}, Root: w.root,
		Drivers:       map[string]Open{"dir": func(c storagedriver.Config) storagedriver.Driver { return dir.New(c) }},
		UsersOfVolume: func(v VolumeID) []string { return w.used[v] },
		Projects:      onlyDefault{},
	})
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) fails(err error, status int, text string) {
	w.Helper()
	if err == nil || api.StatusOf(err) != status || !strings.Contains(err.Error(), text) {
		w.Errorf("got %v (%d), want %d %q", err, api.StatusOf(err), status, text)
	}
}

func (w *world) run(task *operation.Task, err error) {
	w.Helper()
	w.ok(err)
	if task != nil {
		w.ok(task.Run(w.ctx, operation.NoProgress{}))
	}
}

func (w *world) pool(name string, config map[string]string) error {
	req := api.StoragePoolsPost{Name: name, Driver: "dir"}
	req.Config = config
	return w.service.CreatePool(w.ctx, req)
}

func anyRevision(store.Revision) error { return nil }

var _ disk.Pools = (*Service)(nil)

func custom(name string) VolumeID {
	return VolumeID{Pool: "p", Project: "default", Type: VolumeCustom, Name: name}
}

func TestPoolLife(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	w.fails(w.pool("p", nil), http.StatusConflict, "The storage pool already exists: The record already exists")
	w.fails(w.pool("", nil), http.StatusBadRequest, "No name provided")
	w.fails(w.pool("a/b", nil), http.StatusBadRequest, "Storage pool names may not contain slashes")
	w.fails(w.pool("..", nil), http.StatusBadRequest, "Invalid storage pool name")
	w.fails(w.pool("x", map[string]string{"foo": "bar"}), 400, `Invalid option "foo"`)
	w.fails(w.pool("x", map[string]string{"source": "/nonexist"}), 400, "Source path '/nonexist' doesn't exist")
	w.fails(w.pool("x", map[string]string{"source": w.root}), 400, "is within the daemon")
	w.fails(w.pool("x", map[string]string{"size": "1GiB"}), 400, `Invalid option "size"`)

	pool, _, err := w.service.Pool("p")
	w.ok(err)
	if pool.UsedBy != nil || pool.Status != "Created" || pool.Config["source"] != filepath.Join(w.root, "storage-pools", "p") {
		t.Errorf("pool is shown as %+v", pool)
	}
	put := api.StoragePoolPut{Config: map[string]string{"user.a": "b"}}
	w.ok(w.service.UpdatePool(w.ctx, "p", put, true, anyRevision))
	w.fails(w.service.UpdatePool(w.ctx, "p", put, false, anyRevision), 500, "Pool source cannot be changed when not in pending state")
	put.Config = map[string]string{"rsync.compression": "maybe"}
	w.fails(w.service.UpdatePool(w.ctx, "p", put, true, anyRevision), 400, `Invalid value for option "rsync.compression": Invalid value for a boolean "maybe"`)
	w.restart()
	pool, _, _ = w.service.Pool("p")
	if pool.Config["user.a"] != "b" || pool.Status != "Created" {
		t.Errorf("after a restart: %+v", pool)
	}
	res, err := w.service.Resources(w.ctx, "p")
	w.ok(err)
	if res.Space.Total == 0 {
		t.Error("pool has no size")
	}
	w.ok(w.service.DeletePool(w.ctx, "p"))
	w.fails(w.service.DeletePool(w.ctx, "p"), 404, "Storage pool not found")
	if left, _ := os.ReadDir(filepath.Join(w.root, "storage-pools")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestPoolWithSource(t *testing.T) {
	w := newWorld(t)
	source := t.TempDir()
	w.ok(w.pool("ext", map[string]string{"source": source}))
	w.fails(w.pool("two", map[string]string{"source": source}), 400, "isn't empty")
	if _, err := os.Stat(filepath.Join(source, "containers")); err != nil {
		t.Error(err)
	}
	w.ok(unix.Unmount(filepath.Join(w.root, "storage-pools", "ext"), 0)) // as a reboot does
	w.restart()
	if _, err := os.Stat(filepath.Join(w.root, "storage-pools", "ext", "containers")); err != nil {
		t.Error(err)
	}
	w.ok(w.service.DeletePool(w.ctx, "ext"))
	if left, err := os.ReadDir(source); err != nil || len(left) != 0 {
		t.Errorf("left over in the source: %v %v", left, err)
	}
}

func TestRecoveryOfPools(t *testing.T) {
	w := newWorld(t)
	record := poolRecord{Driver: "dir", Config: map[string]string{"source": filepath.Join(w.root, "storage-pools", "half")}}
	_, err := w.journal.Begin(w.ctx, kindPoolCreate, poolEntry{Name: "half", Pool: record})
	w.ok(err)
	d, err := w.service.newDriver("half", &record)
	w.ok(err)
	w.ok(d.Create(w.ctx))
	w.ok(d.Mount(w.ctx))
	w.ok(w.pool("going", nil))
	row, _ := w.service.pools.Get("going")
	_, err = w.journal.Begin(w.ctx, kindPoolDelete, poolEntry{Name: "going", Pool: *row.Value})
	w.ok(err)
	w.restart()
	if names := w.service.Pools(); len(names) != 0 {
		t.Errorf("pools %v", names)
	}
	if left, _ := os.ReadDir(filepath.Join(w.root, "storage-pools")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	if w.journal.Pending() != 0 {
		t.Error("journal is not empty")
	}
	w.ok(w.pool("half", nil))
}

func TestImageIsPreparedOnce(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	var fills atomic.Int32
	fill := func(_ context.Context, dir string) error {
		fills.Add(1)
		return os.MkdirAll(filepath.Join(dir, "rootfs/etc"), 0o755)
	}
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			vol := VolumeID{Pool: "p", Project: "default", Type: VolumeContainer, Name: name}
			if err := w.service.CreateFromImage(w.ctx, vol, "f00d", fill); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(w.service.Path(vol), "rootfs/etc")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := fills.Load(); n != 1 {
		t.Errorf("image was unpacked %d times", n)
	}
	w.ok(w.service.DropImage(w.ctx, "f00d"))
	w.ok(w.service.DropImage(w.ctx, "f00d"))
	if left, _ := os.ReadDir(filepath.Join(w.root, "storage-pools/p/images")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	failure := errors.New("bad image")
	vol := VolumeID{Pool: "p", Project: "other", Type: VolumeContainer, Name: "a"}
	if err := w.service.CreateFromImage(w.ctx, vol, "bad", func(context.Context, string) error { return failure }); !errors.Is(err, failure) {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Join(w.root, "storage-pools/p/images")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	w.ok(w.service.CreateEmpty(w.ctx, vol))
	if !strings.HasSuffix(w.service.Path(vol), "/containers/other_a") {
		t.Error(w.service.Path(vol))
	}
}

func TestInstanceVolumesAcrossPools(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	w.ok(w.pool("q", nil))
	a := VolumeID{Pool: "p", Project: "default", Type: VolumeContainer, Name: "a"}
	w.ok(w.service.CreateEmpty(w.ctx, a))
	w.fails(w.service.CreateEmpty(w.ctx, a), 409, "already exists")
	w.ok(os.WriteFile(filepath.Join(w.service.Path(a), "rootfs/f"), []byte("1"), 0o600))
	snap := a
	snap.Snapshot = "s0"
	w.ok(w.service.Snapshot(w.ctx, snap))
	b, bs := a, snap
	b.Pool, b.Name, bs.Pool, bs.Name = "q", "b", "q", "b"
	w.ok(w.service.Copy(w.ctx, b, a))
	w.ok(w.service.Copy(w.ctx, bs, snap))
	for _, v := range []VolumeID{b, bs} {
		if _, err := os.Stat(filepath.Join(w.service.Path(v), "rootfs/f")); err != nil {
			t.Error(err)
		}
	}
	release, err := w.service.Mount(w.ctx, b)
	w.ok(err)
	w.ok(release())
	w.ok(release())
	_, err = w.service.Mount(w.ctx, VolumeID{Pool: "q", Type: VolumeContainer, Name: "none"})
	w.fails(err, 404, "not found")
	w.fails(w.service.CheckPool("none"), 404, "Storage pool not found")
	_, err = w.service.Store.Commit(w.ctx, w.service.Record(b, VolumeID{}), w.service.Record(bs, VolumeID{}))
	w.ok(err)
	w.ok(w.service.UpdateVolume(w.ctx, b, api.StorageVolumePut{Config: map[string]string{"user.foo": "bar"}, Description: "mine"}, false,
		func(store.Revision) error { return nil }))
	_, err = w.service.Store.Commit(w.ctx, w.service.Record(bs, b))
	w.ok(err)
	if v, _, err := w.service.Volume(bs); err != nil || v.Config["user.foo"] != "bar" || v.Description != "mine" {
		t.Errorf("recorded like its volume: %+v, %v", v, err)
	}
	pool, _, _ := w.service.Pool("q")
	if strings.Join(pool.UsedBy, " ") != "/1.0/instances/b /1.0/instances/b/snapshots/s0" {
		t.Errorf("used by %v", pool.UsedBy)
	}
	w.fails(w.service.DeletePool(w.ctx, "q"), 400, "The storage pool is currently in use")
	w.ok(w.service.Delete(w.ctx, b, bs))
	w.ok(w.service.Delete(w.ctx, b, bs))
	if left, _ := os.ReadDir(filepath.Join(w.root, "storage-pools/q/containers-snapshots")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestCustomVolumes(t *testing.T) {
	w := newWorld(t)
	s := w.service
	w.ok(w.pool("p", map[string]string{"volume.snapshots.expiry": "3d"}))
	w.ok(w.pool("q", nil))
	create := func(name string) error {
		task, err := s.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: name, Type: "custom"})
		if task != nil {
			t.Error("an empty volume needs no task")
		}
		return err
	}
	w.ok(create("v"))
	w.fails(create("v"), 409, "Volume by that name already exists")
	w.fails(create("a/b"), 400, "Storage volume names may not contain slashes")
	w.fails(create(".."), 400, "Invalid storage volume name")
	v, _, err := s.Volume(custom("v"))
	w.ok(err)
	if v.Config["snapshots.expiry"] != "3d" || v.UsedBy == nil {
		t.Errorf("volume is shown as %+v", v)
	}
	put := api.StorageVolumePut{Config: map[string]string{"foo": "bar"}}
	w.fails(s.UpdateVolume(w.ctx, custom("v"), put, false, anyRevision), 400, `Invalid option for volume "default_v" option "foo"`)
	file := filepath.Join(w.root, "storage-pools/p/custom/default_v/f")
	w.ok(os.WriteFile(file, []byte("one"), 0o600))
	w.run(s.CreateVolumeSnapshot(custom("v"), api.StorageVolumeSnapshotsPost{}))
	w.ok(os.WriteFile(file, []byte("two"), 0o600))
	w.fails(s.UpdateVolume(w.ctx, custom("v"), api.StorageVolumePut{Restore: "none"}, false, anyRevision), 500, "Snapshot not found")
	w.ok(s.UpdateVolume(w.ctx, custom("v"), api.StorageVolumePut{Restore: "snap0"}, false, anyRevision))
	if data, _ := os.ReadFile(file); string(data) != "one" {
		t.Errorf("restored %q", data)
	}
	snaps, err := s.VolumeSnapshots(custom("v"))
	w.ok(err)
	if len(snaps) != 1 || snaps[0].Name != "v/snap0" || snaps[0].ExpiresAt.IsZero() {
		t.Errorf("snapshots %+v", snaps)
	}
	w.run(s.CreateVolume(w.ctx, "q", "default", api.StorageVolumesPost{Name: "w", Type: "custom",
		Source: api.StorageVolumeSource{Type: "copy", Name: "v", Pool: "p"}}))
	moved := custom("w")
	moved.Pool = "q"
	w.run(s.MoveVolume(moved, custom("x")))
	w.ok(s.RenameVolume(w.ctx, custom("x"), "y"))
	list, err := s.VolumeList("p", "default", VolumeCustom)
	w.ok(err)
	var names []string
	for _, v := range list {
		names = append(names, v.Name)
	}
	if strings.Join(names, " ") != "v v/snap0 y y/snap0" {
		t.Errorf("volumes %v", names)
	}
	// By the name of a project that shares them, they are the same.
	shared, err := s.VolumeList("p", "theirs", VolumeCustom)
	w.ok(err)
	if len(shared) != len(list) || !slices.Equal(s.CustomVolumes("theirs"), s.CustomVolumes("default")) || len(s.CustomVolumes("theirs")) != 2 {
		t.Errorf("another project sees %v and %v", shared, s.CustomVolumes("theirs"))
	}
	if own := s.Contents("theirs"); len(own) != 2 || own[0].Name != "v" || own[1].Name != "y" {
		t.Errorf("what counts is %+v", own)
	}
	for range 2 {
		path, err := s.Attach(w.ctx, "c/d", "p", "default", "v")
		w.ok(err)
		if path != filepath.Dir(file) {
			t.Error(path)
		}
	}
	_, err = s.Attach(w.ctx, "c/d", "p", "default", "y")
	w.fails(err, 409, "still attached")
	w.ok(s.Detach(w.ctx, "c/d"))
	w.ok(s.Detach(w.ctx, "c/d"))
	_, err = s.Attach(w.ctx, "c/d", "p", "default", "none")
	w.fails(err, 404, "Storage pool volume not found")
	if len(s.mounts) != 0 {
		t.Error("mounts are left")
	}
	w.used[custom("v")] = []string{"/1.0/instances/c"}
	w.fails(s.DeleteVolume(w.ctx, custom("v")), 400, "in use")
	delete(w.used, custom("v"))
	w.ok(s.DeleteVolume(w.ctx, custom("v")))
	w.ok(s.DeleteVolume(w.ctx, custom("y")))
	w.fails(s.DeleteVolume(w.ctx, custom("y")), 404, "Storage pool volume not found")
	w.ok(s.DeletePool(w.ctx, "p"))
	w.ok(s.DeletePool(w.ctx, "q"))
	if w.journal.Pending() != 0 {
		t.Error("journal is not empty")
	}
}

func TestRecoveryOfVolumes(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	mk := func(name string) {
		_, err := w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: name, Type: "custom"})
		w.ok(err)
	}
	mk("going")
	mk("old")
	d, err := w.service.driver(w.ctx, "p")
	w.ok(err)
	half := custom("half")
	half.UUID = "a UUID"
	old := w.service.identified(custom("old"))[0]
	renamed := old
	renamed.Name = "new"
	for _, begin := range []struct {
		kind string
		data any
	}{
		{kindVolumeCreate, []VolumeID{half}}, {kindVolumeDelete, w.service.identified(custom("going"))}, {kindVolumeRename, renameEntry{old, renamed}},
	} {
		_, err := w.journal.Begin(w.ctx, begin.kind, begin.data)
		w.ok(err)
	}
	w.ok(w.service.Rename(w.ctx, old, renamed))
	w.ok(d.CreateVolume(w.ctx, half.onDisk(), nil))
	w.ok(os.Mkdir(filepath.Join(w.root, "storage-pools/p/custom/.tmp x"), 0o700))
	w.restart()
	entries, _ := os.ReadDir(filepath.Join(w.root, "storage-pools/p/custom"))
	if len(entries) != 1 || entries[0].Name() != "default_old" {
		t.Errorf("on disk: %v", entries)
	}
	list, _ := w.service.VolumeList("p", "", "")
	if len(list) != 1 || list[0].Name != "old" {
		t.Errorf("listed: %v", list)
	}
}

func FuzzExpiry(f *testing.F) {
	f.Add("1M 2H 3d 4w 5m 6y")
	f.Add("999999y 999999y")
	f.Add("-1d")
	f.Fuzz(func(t *testing.T, value string) { _ = isExpiry(value) })
}

// The largest ages that snapshots.expiry takes lead past the years that a date can have in JSON.
func TestExtremeAges(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	for n, age := range []string{"999999y", "999999m", "999999w 999999d", "0d"} {
		id := custom(string(rune('a' + n)))
		req := api.StorageVolumesPost{Name: id.Name, Type: "custom"}
		req.Config = map[string]string{"snapshots.expiry": age}
		w.run(w.service.CreateVolume(w.ctx, "p", "default", req))
		w.run(w.service.CreateVolumeSnapshot(id, api.StorageVolumeSnapshotsPost{Name: "s"}))
		id.Snapshot = "s"
		snap, _, err := w.service.VolumeSnapshot(id)
		w.ok(err)
		if age != "0d" && snap.ExpiresAt.Before(time.Now().AddDate(100, 0, 0)) {
			t.Errorf("%s: it expires at %s", age, snap.ExpiresAt)
		}
	}
}

// TestOneUnpacksAnImage while others that want it wait: none begins to, and none fails.
func TestOneUnpacksAnImage(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	var filling atomic.Int32
	second, both := make(chan struct{}), make(chan error, 2)
	fill := func(_ context.Context, dir string) error {
		if filling.Add(1) > 1 {
			close(second)
			return nil
		}
		select {
		case <-second:
			t.Error("two unpack an image at once")
		case <-time.After(100 * time.Millisecond): // nobody else has come in: that takes no time
		}
		return os.Mkdir(filepath.Join(dir, "rootfs"), 0o755)
	}
	for _, name := range []string{"a", "b"} {
		go func() {
			both <- w.service.CreateFromImage(w.ctx, VolumeID{Pool: "p", Project: "default", Type: VolumeContainer, Name: name}, "f00d", fill)
		}()
	}
	w.ok(errors.Join(<-both, <-both))
}

// mounting is a driver that counts the mounts of volumes.
type mounting struct {
	storagedriver.Driver
	mounts, unmounts *atomic.Int32
}

func (m mounting) MountVolume(ctx context.Context, v storagedriver.Volume) error {
	m.mounts.Add(1)
	return m.Driver.MountVolume(ctx, v)
}

func (m mounting) UnmountVolume(ctx context.Context, v storagedriver.Volume) error {
	m.unmounts.Add(1)
	return m.Driver.UnmountVolume(ctx, v)
}

// TestAVolumeIsMountedUntilItsLastUserHasGone, however often one of them lets go.
func TestAVolumeIsMountedUntilItsLastUserHasGone(t *testing.T) {
	w := newWorld(t)
	m := mounting{mounts: &atomic.Int32{}, unmounts: &atomic.Int32{}}
	w.service.Drivers = map[string]Open{"dir": func(c storagedriver.Config) storagedriver.Driver {
		m := m
		m.Driver = dir.New(c)
		return m
	}}
	w.ok(w.pool("p", nil))
	w.run(w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "v", Type: "custom"}))
	counts := func(when string, mounts, unmounts int32) {
		t.Helper()
		if m.mounts.Load() != mounts || m.unmounts.Load() != unmounts {
			t.Errorf("%s: mounted %d times, unmounted %d, want %d and %d", when, m.mounts.Load(), m.unmounts.Load(), mounts, unmounts)
		}
	}
	for round := range int32(2) {
		var releases []func() error
		for range 3 {
			release, err := w.service.Mount(w.ctx, custom("v"))
			w.ok(err)
			releases = append(releases, release)
		}
		counts("used by three", round+1, round)
		w.ok(releases[0]())
		w.ok(releases[0]())
		w.ok(releases[2]())
		counts("used by one", round+1, round)
		w.ok(releases[1]())
		counts("used by none", round+1, round+1)
	}
}
