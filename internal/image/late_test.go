package image

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/store"
)

// TestAPoolThatHangsDoesNotHoldBackADelete: its copy goes when it is there again, unless the image is.
func TestAPoolThatHangsDoesNotHoldBackADelete(t *testing.T) {
	for name, again := range map[string]bool{"for good": false, "imported again": true} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			s, j := newService(t, store.NewMemory(), t.TempDir())
			hangs, dropped := api.Unavailable("Storage pool %q unavailable", "p"), 0
			s.OnDelete = func(context.Context, string) error {
				if hangs != nil {
					return errors.Join(nil, hangs)
				}
				dropped++
				return nil
			}
			data := unified(t)
			img, err := importFile(t, s, data, Request{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.delete(ctx, "default", img.Fingerprint); err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Get(ctx, "default", img.Fingerprint); !api.IsNotFound(err) {
				t.Errorf("after the delete: %v", err)
			}
			if _, err := os.Stat(s.metaPath(img.Fingerprint)); !os.IsNotExist(err) {
				t.Errorf("its file: %v", err)
			}
			s.dropLate(ctx)
			if n := j.Pending(); n != 1 {
				t.Errorf("%d entries in the journal while the pool hangs", n)
			}
			want := 1
			if again {
				want = 0
				if _, err := importFile(t, s, data, Request{}); err != nil {
					t.Fatal(err)
				}
			}
			hangs = nil
			s.dropLate(ctx)
			s.dropLate(ctx)
			if n := j.Pending(); n != 0 || dropped != want {
				t.Errorf("%d entries left, copies dropped %d times, want %d", n, dropped, want)
			}
			if _, _, err := s.Get(ctx, "default", img.Fingerprint); (err == nil) != again {
				t.Errorf("in the end: %v", err)
			}
		})
	}
}
