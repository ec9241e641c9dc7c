package storage

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
)

// awayWorld is a daemon that found an unfinished change of volume v, when its pool could not be reached. back brings the pool back.
func awayWorld(t *testing.T, kind string, data func(w *world) any) (w *world, back func()) {
	w = newWorld(t)
	source := filepath.Join(t.TempDir(), "source")
	w.ok(os.Mkdir(source, 0o700))
	w.ok(w.pool("p", map[string]string{"source": source}))
	_, err := w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "v", Type: "custom"})
	w.ok(err)
	w.ok(os.WriteFile(filepath.Join(w.service.Path(custom("v")), "file"), []byte("work"), 0o600))
	_, err = w.journal.Begin(w.ctx, kind, data(w))
	w.ok(err)
	w.ok(os.Rename(source, source+".away"))
	w.restart()
	return w, func() { w.ok(os.Rename(source+".away", source)) }
}

func deletion(w *world) any { return w.service.identified(custom("v")) }

func renaming(w *world) any {
	from := w.service.identified(custom("v"))[0]
	to := from
	to.Name = "new"
	return renameEntry{from, to}
}

// TestAnUnfinishedChangeKeepsAVolumeBack, and who would come to depend on it, until the pool is there.
func TestAnUnfinishedChangeKeepsAVolumeBack(t *testing.T) {
	for kind, data := range map[string]func(*world) any{kindVolumeDelete: deletion, kindVolumeRename: renaming} {
		w, back := awayWorld(t, kind, data)
		s := w.service
		run := func(task *operation.Task, err error) error {
			if err != nil {
				return err
			}
			return task.Run(w.ctx, operation.NoProgress{})
		}
		for name, do := range map[string]func() error{
			"attach": func() error { _, err := s.CustomVolume("p", "default", "v"); return err },
			"rename": func() error { return s.RenameVolume(w.ctx, custom("v"), "w") },
			"update": func() error { return s.UpdateVolume(w.ctx, custom("v"), api.StorageVolumePut{}, false, anyRevision) },
			"snapshot": func() error {
				return run(s.CreateVolumeSnapshot(custom("v"), api.StorageVolumeSnapshotsPost{Name: "s"}))
			},
			"copy": func() error {
				return run(s.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "c", Type: "custom",
					Source: api.StorageVolumeSource{Type: "copy", Name: "v"}}))
			},
		} {
			if err := do(); !api.IsUnavailable(err) || !strings.Contains(err.Error(), kind) {
				t.Errorf("%s beside %s: %v", name, kind, err)
			}
		}
		back()
		err := s.RenameVolume(w.ctx, custom("v"), "w") // which settles it first
		if n := w.journal.Pending(); n != 0 {
			t.Errorf("%s: %d entries are left", kind, n)
		}
		if kind == kindVolumeRename {
			w.ok(err)
			w.ok(s.DeleteVolume(w.ctx, custom("w")))
		} else {
			w.fails(err, 404, "Storage pool volume not found")
		}
		w.ok(s.DeletePool(w.ctx, "p"))
	}
}

// TestASnapshotOfAVolumeThatCannotBeTakenBackKeepsItNotOnItsDisk: it can be copied, and moved to another pool.
func TestASnapshotOfAVolumeThatCannotBeTakenBackKeepsItNotOnItsDisk(t *testing.T) {
	w := newWorld(t)
	disk := w.disk()
	w.ok(w.pool("p", map[string]string{"source": disk.path}))
	w.ok(w.pool("q", nil))
	w.ok(w.create("v", api.StorageVolumeSource{}))
	w.ok(w.snapshot("v", "s0"))
	made := custom("v")
	made.Snapshot, made.UUID = "s9", "3f0b1c6e-0000-4000-8000-000000000009"
	_, err := w.journal.Begin(w.ctx, kindVolumeCreate, []VolumeID{made})
	w.ok(err)
	d, err := w.service.driver(w.ctx, "p")
	w.ok(err)
	w.ok(d.CreateSnapshot(w.ctx, made.onDisk()))
	readOnly := func(flag uintptr) {
		w.ok(unix.Mount("", disk.path, "", unix.MS_REMOUNT|flag, ""))
	}
	readOnly(unix.MS_RDONLY)
	w.restart()
	w.fails(w.snapshot("v", "s1"), 503, kindVolumeCreate)
	w.run(w.service.CreateVolume(w.ctx, "q", "default", api.StorageVolumesPost{Name: "c", Type: "custom",
		Source: api.StorageVolumeSource{Type: "copy", Name: "v", Pool: "p"}}))
	if _, _, err := w.service.VolumeSnapshot(VolumeID{Pool: "q", Project: "default", Type: VolumeCustom, Name: "c", Snapshot: "s0"}); err != nil {
		t.Error(err)
	}
	readOnly(0)
	w.ok(w.snapshot("v", "s1")) // which takes the other one back first
	if n := w.journal.Pending(); n != 0 {
		t.Errorf("%d entries are left", n)
	}
	w.ok(w.service.DeleteVolume(w.ctx, custom("v")))
	w.ok(w.service.DeletePool(w.ctx, "p"))
}

// TestAVolumeThatIsUsedStays: what an earlier daemon let somebody use is neither deleted nor renamed any more.
func TestAVolumeThatIsUsedStays(t *testing.T) {
	for kind, data := range map[string]func(*world) any{kindVolumeDelete: deletion, kindVolumeRename: renaming} {
		w, back := awayWorld(t, kind, data)
		back()
		w.used[custom("v")] = []string{"/1.0/instances/c"}
		w.restart()
		got, err := os.ReadFile(filepath.Join(w.service.Path(custom("v")), "file"))
		if err != nil || string(got) != "work" || w.journal.Pending() != 0 {
			t.Errorf("%s: it holds %q, %v; %d entries", kind, got, err, w.journal.Pending())
		}
		if _, err := w.service.CustomVolume("p", "default", "v"); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		delete(w.used, custom("v"))
		w.ok(w.service.DeleteVolume(w.ctx, custom("v")))
		w.ok(w.service.DeletePool(w.ctx, "p"))
	}
}

// TestAPoolThatIsUsedAgainStays: its deletion could not be finished at the start after the kill, and it was used meanwhile.
func TestAPoolThatIsUsedAgainStays(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	row, _ := w.service.pools.Get("p")
	data, err := json.Marshal(poolEntry{Name: "p", Pool: *row.Value})
	w.ok(err)
	_, err = w.service.CreateVolume(w.ctx, "p", "default", api.StorageVolumesPost{Name: "v", Type: "custom"})
	w.ok(err)
	w.ok(w.service.recoverPoolDelete(w.ctx, data))
	if _, err := w.service.CustomVolume("p", "default", "v"); err != nil {
		t.Error(err)
	}
}

// TestALateRenameOfAVolumeIsTakenBack, as its client was told that it had failed: also if somebody has taken the new name since, whose snapshots
// stay.
func TestALateRenameOfAVolumeIsTakenBack(t *testing.T) {
	for _, moved := range []bool{false, true} { // whether the volume had got its new name
		for _, taken := range []bool{false, true} {
			w, back := awayWorld(t, kindVolumeRename, func(w *world) any {
				w.ok(w.snapshot("v", "s0"))
				e := renaming(w).(renameEntry)
				if moved {
					w.ok(w.service.Rename(w.ctx, e.From, e.To))
				}
				return e
			})
			if taken { // on a pool of which the disk holds nothing else
				_, err := w.service.Store.Commit(w.ctx, w.service.volumes.Put(&volumeRecord{UUID: "another"}, custom("new").path()...),
					w.service.volumes.Put(&volumeRecord{UUID: "another's"}, append(custom("new").path(), "t0")...))
				w.ok(err)
			}
			back()
			w.ok(w.service.UpdateVolume(w.ctx, custom("v"), api.StorageVolumePut{}, false, anyRevision)) // which settles it first
			if n := w.journal.Pending(); n != 0 {
				t.Errorf("%v, %v: %d entries are left", moved, taken, n)
			}
			if got, err := os.ReadFile(filepath.Join(w.service.Path(custom("v")), "file")); err != nil || string(got) != "work" {
				t.Errorf("%v, %v: it holds %q, %v", moved, taken, got, err)
			}
			s0, t0 := custom("v"), custom("new")
			s0.Snapshot, t0.Snapshot = "s0", "t0"
			for v, want := range map[VolumeID]bool{custom("v"): true, s0: true, custom("new"): taken, t0: taken} {
				if _, ok := w.service.volumes.Get(v.path()...); ok != want {
					t.Errorf("%v, %v: %s %s is known: %v", moved, taken, v.Name, v.Snapshot, ok)
				}
			}
			w.ok(w.service.DeleteVolume(w.ctx, custom("v")))
			if taken {
				w.ok(w.service.DeleteVolume(w.ctx, custom("new")))
			}
			w.ok(w.service.DeletePool(w.ctx, "p"))
		}
	}
}

// TestAVolumeNameIsNotFreeWhileItHasSnapshots: a rename had brought some of them there, and they are to go back.
func TestAVolumeNameIsNotFreeWhileItHasSnapshots(t *testing.T) {
	w, back := awayWorld(t, kindVolumeRename, func(w *world) any {
		w.ok(w.snapshot("v", "s0"))
		w.ok(w.create("other", api.StorageVolumeSource{}))
		e := renaming(w).(renameEntry)
		w.ok(w.service.Rename(w.ctx, e.From, e.To))
		_, err := w.service.Store.CommitAll(w.ctx, w.service.moveSnapshotRecords(e.From, e.To))
		w.ok(err)
		return e
	})
	back()
	w.fails(w.create("new", api.StorageVolumeSource{}), 503, "in use until an earlier change is undone")
	w.fails(w.service.RenameVolume(w.ctx, custom("other"), "new"), 503, "in use until an earlier change is undone")
	w.ok(w.service.UpdateVolume(w.ctx, custom("v"), api.StorageVolumePut{}, false, anyRevision))
	w.ok(w.create("new", api.StorageVolumeSource{}))
	w.ok(w.service.DeleteVolume(w.ctx, custom("v")))
	w.ok(w.service.DeleteVolume(w.ctx, custom("new")))
	w.ok(w.service.DeleteVolume(w.ctx, custom("other")))
	w.ok(w.service.DeletePool(w.ctx, "p"))
}
