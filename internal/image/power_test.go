package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/loopfs"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// TestAnImageOutlivesAPowerCut has the images' folder lose what was not synced when an import has succeeded, and only that: the store,
// which is elsewhere, has the record.
func TestAnImageOutlivesAPowerCut(t *testing.T) {
	disk := loopfs.PowerDisk(t)
	s, _ := newService(t, store.NewMemory(), disk.Path)
	instance := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(instance, "rootfs", "etc"), 0o755),
		os.WriteFile(filepath.Join(instance, "rootfs", "etc", "hostname"), []byte("x"), 0o644)); err != nil {
		t.Fatal(err)
	}
	s.Publish = func(context.Context, string, string) (*Content, error) {
		return &Content{Dir: instance, Metadata: &api.ImageMetadata{Architecture: "x86_64"}, Release: func() error { return nil }}, nil
	}
	for name, make := range map[string]func() error{
		"unified": func() error { _, err := importFile(t, s, unified(t), Request{}); return err },
		"split":   func() error { _, err := importSplit(t, s, metadataTar(t), rootTar(t), Request{}); return err },
		"published": func() error {
			task, err := s.PublishInstance(context.Background(), "c1", "none", Request{Project: "default"})
			if err != nil {
				return err
			}
			return task.Run(context.Background(), operation.NoProgress{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := make(); err != nil {
				t.Fatal(err)
			}
			disk.PowerCut(nil)
			for _, row := range s.images.List() {
				wholeImage(t, s, row.Path[1])
			}
		})
	}
	if n := len(s.images.List()); n != 3 {
		t.Errorf("%d images", n)
	}
}

func wholeImage(t *testing.T, s *Service, fingerprint string) {
	t.Helper()
	sum := sha256.New()
	for _, path := range s.paths(fingerprint) {
		data, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		sum.Write(data)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != fingerprint {
		t.Errorf("the files of image %s hash to %s", fingerprint, got)
	}
}
