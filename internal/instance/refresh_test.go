package instance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/storage"
)

// snapshotContents are what the snapshots of an instance hold, by their names.
func (h *house) snapshotContents(name string) map[string]string {
	h.t.Helper()
	list, err := h.Snapshots(h.t.Context(), "default", name)
	h.do(err)
	all := map[string]string{}
	for _, snap := range list {
		data, err := os.ReadFile(filepath.Join(h.root, "storage-pools/p1/containers-snapshots", name, snap.Name, "rootfs/content"))
		h.do(err)
		all[snap.Name] = string(data)
	}
	return all
}

// TestARefreshThatFailsKeepsTheSnapshotsOfTheCopy, those too that others of the same name are to replace.
func TestARefreshThatFailsKeepsTheSnapshotsOfTheCopy(t *testing.T) {
	for name, fails := range map[string]func(storage.VolumeID) bool{
		"a snapshot cannot be copied":    func(v storage.VolumeID) bool { return v.Snapshot != "" },
		"the content cannot be copied":   func(v storage.VolumeID) bool { return v.Snapshot == "" },
		"there is no room for the first": func(storage.VolumeID) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			snapshot := func() {
				h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Name: "s"})))
			}
			refresh := func() error {
				req := api.InstancesPost{Name: "c2", Source: api.InstanceSource{Type: "copy", Source: "c1", Refresh: true}}
				return h.run(h.Create(t.Context(), "default", req))
			}
			h.create("c1", nil)
			h.write("c1", "first")
			snapshot()
			h.do(refresh())
			h.do(h.run(h.DeleteSnapshot(t.Context(), "default", "c1", "s")))
			h.write("c1", "second")
			snapshot()
			h.volumes.copying = func(v storage.VolumeID) error {
				if strings.HasPrefix(v.Name, "c2") && fails(v) {
					return errors.New("no")
				}
				return nil
			}
			if err := refresh(); err == nil {
				t.Error("no error")
			}
			if has := h.snapshotContents("c2"); len(has) != 1 || has["s"] != "first" || h.content("c2") != "first" {
				t.Errorf("after the failure it holds %q and has the snapshots %q", h.content("c2"), has)
			}
			h.volumes.copying = nil
			h.do(refresh())
			if has := h.snapshotContents("c2"); len(has) != 1 || has["s"] != "second" || h.content("c2") != "second" {
				t.Errorf("afterwards it holds %q and has the snapshots %q", h.content("c2"), has)
			}
			if n := h.Journal.Pending(); n != 0 {
				t.Errorf("%d journal entries are left", n)
			}
			h.onlyVolumes("c1", "c2")
			h.nothingLeft()
		})
	}
}
