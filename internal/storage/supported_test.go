package storage

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
)

func TestWhatHasNoEffectOnPoolsAndVolumesIsRefused(t *testing.T) {
	w := newWorld(t)
	const no = "is not supported by this server: it "
	for key, value := range map[string]string{"rsync.compression": "false", "volume.snapshots.schedule": "@daily"} {
		w.fails(w.pool("p", map[string]string{key: value}), 400, key+`="`+value+`" `+no)
	}
	w.ok(w.pool("p", nil))
	w.fails(w.service.UpdatePool(w.ctx, "p", api.StoragePoolPut{Config: map[string]string{"rsync.compression": "true"}}, true, anyRevision), 400, no)

	schedule := map[string]string{"snapshots.schedule": "@daily"}
	_, err := w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "v", Type: "custom", StorageVolumePut: api.StorageVolumePut{Config: schedule}})
	w.fails(err, 400, `snapshots.schedule="@daily" `+no)
	w.run(w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "v", Type: "custom"}))
	w.fails(w.service.UpdateVolume(w.ctx, custom("v"), api.StorageVolumePut{Config: schedule}, true, anyRevision), 400, no)

	// A record of an earlier version goes on, and so do its copies.
	row, _ := w.service.volumes.Get(custom("v").path()...)
	row.Value.Config = schedule
	_, err = w.service.Store.Commit(w.ctx, w.service.volumes.Put(row.Value, custom("v").path()...))
	w.ok(err)
	w.ok(w.service.UpdateVolume(w.ctx, custom("v"), api.StorageVolumePut{Config: map[string]string{"user.a": "1"}}, true, anyRevision))
	w.run(w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "v2", Type: "custom",
		StorageVolumePut: api.StorageVolumePut{Config: schedule}, Source: api.StorageVolumeSource{Type: "copy", Name: "v"}}))
}

func TestAVolumesSnapshotsAreNamedByItsPattern(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	w.run(w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "v", Type: "custom",
		StorageVolumePut: api.StorageVolumePut{Config: map[string]string{"snapshots.pattern": "day%d"}}}))
	for range 2 {
		w.run(w.service.CreateVolumeSnapshot(custom("v"), api.StorageVolumeSnapshotsPost{}))
	}
	list, err := w.service.VolumeSnapshots(custom("v"))
	w.ok(err)
	if len(list) != 2 || list[0].Name != "v/day0" || list[1].Name != "v/day1" {
		t.Errorf("got %+v", list)
	}
	w.ok(w.service.UpdateVolume(w.ctx, custom("v"), api.StorageVolumePut{Config: map[string]string{"snapshots.pattern": "%d%d"}}, true, anyRevision))
	_, err = w.service.CreateVolumeSnapshot(custom("v"), api.StorageVolumeSnapshotsPost{})
	w.fails(err, 400, "only once")
}

// TestASizeThatCannotBeEnforcedIsSaid: on a file system without quotas, as LXD does.
func TestASizeThatCannotBeEnforcedIsSaid(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	w.ok(w.pool("p", nil))
	make := func(name string, c map[string]string) {
		w.run(w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: name, Type: "custom", StorageVolumePut: api.StorageVolumePut{Config: c}}))
	}
	make("plain", nil)
	if log.Len() != 0 {
		t.Errorf("without a size: %s", &log)
	}
	make("v", map[string]string{"size": "20MiB"})
	if v, _, err := w.service.Volume(custom("v")); err != nil || v.Config["size"] != "20MiB" {
		t.Errorf("the size is not kept: %+v %v", v, err)
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "volume=custom/default_v size=20971520") {
		t.Errorf("the log says %q", &log)
	}
	log.Reset()
	w.ok(w.service.UpdateVolume(w.ctx, custom("v"), api.StorageVolumePut{Config: map[string]string{"size": "30MiB"}}, true, anyRevision))
	if !strings.Contains(log.String(), "size=31457280") {
		t.Errorf("the log says %q", &log)
	}
}

func TestACopyTakesNoMoreThanItsPoolsBound(t *testing.T) {
	w := newWorld(t)
	w.fails(w.pool("p", map[string]string{"rsync.bwlimit": "much"}), 400, `Invalid value for option "rsync.bwlimit": Invalid value: much`)
	w.ok(w.pool("p", map[string]string{"rsync.bwlimit": "2048"}))
	w.run(w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "v", Type: "custom"}))
	w.ok(os.WriteFile(filepath.Join(w.service.Path(custom("v")), "data"), make([]byte, 3<<20), 0o600))
	begun := time.Now()
	w.run(w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "v2", Type: "custom", Source: api.StorageVolumeSource{Type: "copy", Name: "v"}}))
	// The first MiB comes at once; the other two at 2 MiB a second.
	if took := time.Since(begun); took < 900*time.Millisecond {
		t.Errorf("3 MiB took %s at 2 MiB a second", took)
	}
	if st, err := os.Stat(filepath.Join(w.service.Path(custom("v2")), "data")); err != nil || st.Size() != 3<<20 {
		t.Errorf("the copy: %v", err)
	}
}

func TestExpiredSnapshotsOfVolumesAreDeletedWhenTheirTimeComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ok(w.pool("p", nil))
		w.run(w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "v", Type: "custom",
			StorageVolumePut: api.StorageVolumePut{Config: map[string]string{"snapshots.expiry": "1d"}}}))
		w.service.PruneSnapshots()
		synctest.Wait()
		minute, never := time.Now().Add(time.Minute), time.Time{}
		for name, at := range map[string]*time.Time{"day": nil, "minute": &minute, "never": &never} {
			w.run(w.service.CreateVolumeSnapshot(custom("v"), api.StorageVolumeSnapshotsPost{Name: name, ExpiresAt: at}))
		}
		want := func(names ...string) {
			t.Helper()
			synctest.Wait()
			list, err := w.service.VolumeSnapshots(custom("v"))
			w.ok(err)
			var got []string
			for _, s := range list {
				got = append(got, strings.TrimPrefix(s.Name, "v/"))
			}
			if strings.Join(got, " ") != strings.Join(names, " ") {
				t.Errorf("%s: there are %q, want %q", time.Now(), got, names)
			}
		}
		want("day", "minute", "never")
		time.Sleep(time.Minute)
		want("day", "never")
		soon := func(put *api.StorageVolumeSnapshotPut) error { put.ExpiresAt = &minute; return nil }
		day := custom("v")
		day.Snapshot = "day"
		w.ok(w.service.UpdateVolumeSnapshot(w.ctx, day, soon, anyRevision))
		want("day", "never") // it has passed already: whoever has set it may see it
		time.Sleep(time.Minute)
		want("never")
		if _, err := os.Stat(w.service.Path(day)); !os.IsNotExist(err) {
			t.Errorf("its files: %v", err)
		}
		w.service.Close()
		w.ok(w.service.Store.Close())
	})
}

// TestAnExpiredSnapshotKeepsNoReaderOut: while somebody copies the volume, an instance that has it among its devices starts.
func TestAnExpiredSnapshotKeepsNoReaderOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ok(w.pool("p", nil))
		w.run(w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "v", Type: "custom"}))
		w.service.PruneSnapshots()
		at := time.Now().Add(time.Minute)
		w.run(w.service.CreateVolumeSnapshot(custom("v"), api.StorageVolumeSnapshotsPost{Name: "s", ExpiresAt: &at}))
		snap := custom("v")
		snap.Snapshot = "s"
		read := func(action string) *lock.Held {
			t.Helper()
			held, other := w.service.Locks.Try(lock.Claim{Action: action}, lock.Shared(custom("v").Object()))
			if other != nil {
				t.Fatalf("%s: held for %q", action, other.Action())
			}
			return held
		}
		copying := read("copy")
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if _, err := os.Stat(w.service.Path(snap)); err != nil {
			t.Errorf("under a copy: %v", err)
		}
		read("start").Release()
		copying.Release()
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := os.Stat(w.service.Path(snap)); !os.IsNotExist(err) {
			t.Errorf("a minute after the copy: %v", err)
		}
		w.service.Close()
		w.ok(w.service.Store.Close())
	})
}

// TestAVolumeSnapshotIsOfItsInstant: what the volume is when its turn comes, and not when it was asked for.
func TestAVolumeSnapshotIsOfItsInstant(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	w.run(w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "v", Type: "custom"}))
	named, err := w.service.CreateVolumeSnapshot(custom("v"), api.StorageVolumeSnapshotsPost{Name: "s"})
	w.ok(err)
	unnamed, err := w.service.CreateVolumeSnapshot(custom("v"), api.StorageVolumeSnapshotsPost{})
	w.ok(err)
	put := api.StorageVolumePut{Description: "new", Config: map[string]string{"user.a": "b", "snapshots.expiry": "1d", "snapshots.pattern": "at%d"}}
	w.ok(w.service.UpdateVolume(w.ctx, custom("v"), put, true, anyRevision))
	w.run(named, nil)
	w.run(unnamed, nil)
	for _, name := range []string{"s", "at0"} {
		id := custom("v")
		id.Snapshot = name
		snap, _, err := w.service.VolumeSnapshot(id)
		w.ok(err)
		if snap.Description != "new" || snap.Config["user.a"] != "b" || snap.ExpiresAt.IsZero() {
			t.Errorf("%s: %q, %v, expires at %v", name, snap.Description, snap.Config, snap.ExpiresAt)
		}
	}
}
