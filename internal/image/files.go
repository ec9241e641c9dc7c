package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

// recoverFiles is the journal's handler for files under way: those of an image that no record names are removed.
func (s *Service) recoverFiles(ctx context.Context, data json.RawMessage) error {
	var entry filesEntry
	if err := json.Unmarshal(data, &entry); err != nil {
		return fmt.Errorf("journal entry: %w", err)
	}
	release, err := s.hold(ctx, "delete", lock.Exclusive(lock.ForImage(entry.Fingerprint)))
	if err != nil {
		return err
	}
	defer release()
	return s.removeUnrecorded(ctx, entry)
}

// removeUnrecorded removes what an import that came to nothing has put in place, or what a deletion has left.
func (s *Service) removeUnrecorded(ctx context.Context, entry filesEntry) error {
	if !entry.Import {
		return s.dropFiles(ctx, entry)
	}
	if s.recorded(entry.Fingerprint, func(r *record) bool { return r.files(entry.Fingerprint) == entry.files() }) {
		return nil
	}
	return s.removeFiles(entry.files(), entry.Before)
}

// recorded tells whether any project has an image with a fingerprint that fits.
func (s *Service) recorded(fingerprint string, fits func(*record) bool) bool {
	return slices.ContainsFunc(s.images.List(), func(row store.Row[record]) bool { return row.Path[1] == fingerprint && fits(row.Value) })
}

// removeFiles removes the files that go by a name but for those to keep, by their own names.
func (s *Service) removeFiles(name string, keep []string) error {
	s.verified.forget(name)
	for _, path := range s.paths(name) {
		if slices.Contains(keep, filepath.Base(path)) {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove image: %w", err)
		}
	}
	return faultRemoved.Hit()
}

// hold claims images for an action: exclusively while their files are put in place or taken away, shared so that they do
// not go meanwhile.
func (s *Service) hold(ctx context.Context, action string, wants ...lock.Want) (release func(), err error) {
	held, err := s.Locks.Acquire(ctx, lock.Claim{Action: action, Brief: true, Patience: lock.Long}, wants...)
	if err != nil {
		return nil, err
	}
	return held.Release, nil
}

// dropFiles removes what is left of an image: files and pools' copies that no project has. The caller holds the image.
func (s *Service) dropFiles(ctx context.Context, left filesEntry) error {
	if !s.recorded(left.Fingerprint, func(r *record) bool { return r.files(left.Fingerprint) == left.files() }) {
		if err := s.removeFiles(left.files(), nil); err != nil {
			return err
		}
	}
	if s.OnDelete == nil || s.recorded(left.Fingerprint, func(r *record) bool { return r.prepared(left.Fingerprint) == left.prepared() }) {
		return nil
	}
	if err := s.OnDelete(ctx, left.prepared()); err != nil {
		return fmt.Errorf("remove the pools' copies of image %s: %w", left.Fingerprint, err)
	}
	return nil
}

// dropOld is dropFiles for a caller that does not hold the image.
func (s *Service) dropOld(ctx context.Context, left filesEntry) error {
	release, err := s.hold(ctx, "delete", lock.Exclusive(lock.ForImage(left.Fingerprint)))
	if err != nil {
		return err
	}
	defer release()
	return s.dropFiles(ctx, left)
}
