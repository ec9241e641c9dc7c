package server

import (
	"context"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/driver/storage/dir"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

// aSnapshot is the API of volumes, with a pool p, a volume v in it and its snapshot s.
func aSnapshot(t *testing.T) storageVolumesAPI {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db, ctx := store.New(store.NewMemory()), context.Background()
	svc := storage.New(storage.Deps{
		Store: db, Journal: journal.New(db), Events: event.Nobody{}, Root: t.TempDir(),
		Drivers: map[string]storage.Open{"dir": func(c storagedriver.Config) storagedriver.Driver { return dir.New(c) }},
	})
	must(db.Load(ctx))
	must(svc.Start(ctx))
	t.Cleanup(svc.Close)
	must(svc.CreatePool(ctx, api.StoragePoolsPost{Name: "p", Driver: "dir"}))
	_, err := svc.CreateVolume(ctx, "p", "default", api.StorageVolumesPost{Name: "v", Type: "custom"})
	must(err)
	task, err := svc.CreateVolumeSnapshot(svc.ID("p", "default", storage.VolumeCustom, "v", ""), api.StorageVolumeSnapshotsPost{Name: "s"})
	must(err)
	must(task.Run(ctx, operation.NoProgress{}))
	return storageVolumesAPI{svc}
}

func (a storageVolumesAPI) patch(body io.Reader) Response {
	w := httptest.NewRecorder()
	return a.updateSnapshot(&Request{
		Request: httptest.NewRequest("PATCH", "/1.0/storage-pools/p/volumes/custom/v/snapshots/s", body), writer: w,
		vars: map[string]string{"pool": "p", "type": "custom", "name": "v", "snapshot": "s"},
	})
}

// interrupted is a body that something else happens beside.
type interrupted struct {
	io.Reader
	meanwhile func()
}

func (i *interrupted) Read(p []byte) (int, error) {
	if i.meanwhile != nil {
		i.meanwhile()
		i.meanwhile = nil
	}
	return i.Reader.Read(p)
}

// One client's change comes and goes while another's is being read.
func TestTwoPatchesOfAVolumeSnapshotBothCount(t *testing.T) {
	a := aSnapshot(t)
	ok := func(r Response) {
		t.Helper()
		if f, failed := r.(failure); failed {
			t.Error(f.err)
		}
	}
	ok(a.patch(&interrupted{strings.NewReader(`{"description": "new"}`), func() { ok(a.patch(strings.NewReader(`{"expires_at": "2100-01-02T03:04:05Z"}`))) }}))
	snap, _, err := a.svc.VolumeSnapshot(a.svc.ID("p", "default", storage.VolumeCustom, "v", "s"))
	if err != nil || snap.Description != "new" || snap.ExpiresAt.Year() != 2100 {
		t.Errorf("%+v, %v", snap, err)
	}
	for _, wrong := range []string{`{"description": 1}`, `{"expires_at": "soon"}`, `[]`} {
		if f, failed := a.patch(strings.NewReader(wrong)).(failure); !failed || f.status() != 400 {
			t.Errorf("%s: %+v", wrong, f)
		}
	}
}
