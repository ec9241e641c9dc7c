package instance

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/storage"
)

// occupied is a pool in which every new name is taken, by what is nobody's here.
type occupied struct{ *fakeVolumes }

func (occupied) Rename(context.Context, storage.VolumeID, storage.VolumeID) error { return os.ErrExist }

func (occupied) RenameBack(context.Context, storage.VolumeID, storage.VolumeID) error { return nil }

func (occupied) CreateEmpty(context.Context, storage.VolumeID) error { return os.ErrExist }

// TestAFailedRenameLeavesTheOtherNameAlone: what has the new name already is neither the instance's nor gone after it.
func TestAFailedRenameLeavesTheOtherNameAlone(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	volume := filepath.Join(h.volumes.root, "storage-pools/p1/containers/pre")
	snapshots := filepath.Join(h.volumes.root, "storage-pools/p1/containers-snapshots/pre")
	h.do(os.MkdirAll(volume, 0o711))
	h.do(os.MkdirAll(snapshots, 0o711))
	h.do(os.MkdirAll(filepath.Join(h.root, "snapshots"), 0o711))
	h.do(os.Symlink(volume, filepath.Join(h.root, "containers/pre")))
	h.do(os.Symlink(snapshots, filepath.Join(h.root, "snapshots/pre")))
	h.do(os.RemoveAll(filepath.Join(h.root, "logs/c1")))
	h.do(os.MkdirAll(filepath.Join(h.root, "logs/pre"), 0o711))

	h.Volumes = occupied{h.volumes}
	if err := h.run(h.Post(t.Context(), "default", "c1", api.InstancePost{Name: "pre"})); err == nil {
		t.Fatal("renamed")
	}
	for _, at := range []string{"containers/pre", "snapshots/pre", "logs/pre", "containers/c1"} {
		if _, err := os.Lstat(filepath.Join(h.root, at)); err != nil {
			t.Error(err)
		}
	}
	h.settled()
}

// TestAFolderInTheWayOfALink: a rename that it stops leaves the instance as it was, with its own link.
func TestAFolderInTheWayOfALink(t *testing.T) {
	h := newHouse(t, nil)
	h.create("c1", nil)
	h.do(os.MkdirAll(filepath.Join(h.root, "containers/folder"), 0o711))
	if err := h.run(h.Post(t.Context(), "default", "c1", api.InstancePost{Name: "folder"})); err == nil {
		t.Fatal("renamed")
	}
	if to, err := os.Readlink(filepath.Join(h.root, "containers/c1")); err != nil || !h.exists(to) {
		t.Errorf("the instance's link leads to %q: %v", to, err)
	}
	h.settled()
}

// TestAFailedCreateLeavesALinkElsewhereAlone: the name may be that of a volume of another pool.
func TestAFailedCreateLeavesALinkElsewhereAlone(t *testing.T) {
	h := newHouse(t, nil)
	h.do(os.MkdirAll(filepath.Join(h.root, "containers"), 0o711))
	h.do(os.Symlink("/elsewhere/pre", filepath.Join(h.root, "containers/pre")))
	h.Volumes = occupied{h.volumes}
	req := api.InstancesPost{Name: "pre", Source: api.InstanceSource{Type: "none"}}
	if err := h.run(h.Create(t.Context(), "default", req)); err == nil {
		t.Fatal("created")
	}
	if to, err := os.Readlink(filepath.Join(h.root, "containers/pre")); to != "/elsewhere/pre" {
		t.Errorf("the link leads to %q: %v", to, err)
	}
	h.settled()
}

func (h *house) exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (h *house) settled() {
	h.t.Helper()
	if n := h.Journal.Pending(); n != 0 {
		h.t.Errorf("%d entries left in the journal", n)
	}
}
