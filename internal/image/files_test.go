package image

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// full is a store that takes an entry of the journal and no image.
type full struct{ *store.Memory }

func (f full) Commit(ctx context.Context, ops []store.Op) (store.Revision, error) {
	if len(ops) > 2 {
		return 0, errors.New("no space left")
	}
	return f.Memory.Commit(ctx, ops)
}

// TestAFailedImportLeavesWhatWasThere: the file of an image that the store does not know, restored from an earlier dump, say.
func TestAFailedImportLeavesWhatWasThere(t *testing.T) {
	for _, there := range []bool{false, true} {
		dir := t.TempDir()
		s, j := newService(t, full{store.NewMemory()}, dir)
		dropped := false
		s.OnDelete = func(context.Context, string) error { dropped = true; return nil }
		data := unified(t)
		r, err := s.ReceiveFile(t.Context(), "default", bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if there {
			if err := os.WriteFile(filepath.Join(dir, r.Fingerprint), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.importReceived(t.Context(), operation.NoProgress{}, r, Request{Project: "default"}); err == nil {
			t.Fatal("imported")
		}
		if left := names(t, dir); len(left) == 1 != there {
			t.Errorf("there before: %v; there after: %v", there, left)
		}
		if dropped {
			t.Error("the pools' copies were dropped")
		}
		if n := j.Pending(); n != 0 {
			t.Errorf("%d entries left in the journal", n)
		}
	}
}
